"""What a V4L2 camera lists, and which of it is asked for.

The choice, in this order:

1. **Size.** With ``width_px`` and ``height_px`` the listed size that is nearest to both; with one
   of them the nearest in it, and of several the one whose shape is nearest to that of the camera's
   largest picture, which shows all that it sees. With neither the one nearest to 640x480.
2. **Rate.** ``rate_hz``, or 30 without one: the lowest listed rate that reaches it, else the
   highest.
3. **Format.** Of those that reach the rate at that size (else of the fastest), pixels before JPEG,
   which costs time to decode and blurs; of pixels the smallest. Only formats that OpenCV decodes.
"""

from __future__ import annotations

import array
import errno
import fcntl
import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgecam.core.protocols import CaptureFormat
from edgecam.settings.schema import SourceSettings

DEFAULT_WIDTH_PX, DEFAULT_HEIGHT_PX, DEFAULT_HZ = 640, 480, 30.0
# Cameras round: 29.97 is 30.
_SAME_RATE = 0.95
# What OpenCV turns into a picture, the fewest bytes first; grey where there is no colour.
_RAW_FORMATS = (
    *("NV12", "NV21", "YU12", "YV12", "YUYV", "UYVY", "BGR3", "RGB3", "XR24", "AR24"),
    *("GREY", "Y16 "),
)
JPEG_FORMATS = ("MJPG", "JPEG")
# linux/videodev2.h
# Single- and multi-planar.
_CAPTURES = 1, 9
_ENUM_FMT, _ENUM_SIZES, _ENUM_RATES = 0xC0405602, 0xC02C564A, 0xC034564B
_FORMAT = struct.Struct("=III32s4sI12x")
_SIZE = struct.Struct("=I4sI6I8x")
_RATE = struct.Struct("=I4sIII6I8x")
_DISCRETE = 1
# More than any camera lists.
_MOST = 256


@dataclass(frozen=True, slots=True)
class Mode:
    """Pictures of one format and size: ``rates_hz`` from the fastest on, empty where none is said.

    ``steps_px``: sizes from ``least_px`` on in such steps up to ``width_px`` x ``height_px`` are
    there too, (width, height) each; None where it is the one size.
    """

    form: str
    width_px: int
    height_px: int
    rates_hz: tuple[float, ...] = ()
    least_px: tuple[int, int] | None = None
    steps_px: tuple[int, int] = (1, 1)

    @property
    def is_usable(self) -> bool:
        """Whether OpenCV makes a picture of it."""
        return self.form in (*_RAW_FORMATS, *JPEG_FORMATS)


def choose(modes: Iterable[Mode], settings: SourceSettings) -> CaptureFormat | None:
    """Return what to ask of a camera that lists ``modes``; None where it lists nothing of use."""
    usable = [mode for mode in modes if mode.is_usable]
    if not usable:
        return None
    largest = max(usable, key=lambda mode: mode.width_px * mode.height_px)
    shape = largest.width_px / largest.height_px
    fixed = [each for mode in usable for each in _sizes(mode, settings, shape)]
    width_px, height_px = min(
        ((mode.width_px, mode.height_px) for mode in fixed),
        key=lambda size: _distance(size, settings, shape),
    )
    at_size = [mode for mode in fixed if (mode.width_px, mode.height_px) == (width_px, height_px)]
    wanted_hz = settings.rate_hz or DEFAULT_HZ
    rates = {mode: _rate(mode.rates_hz, wanted_hz) for mode in at_size}
    enough_hz = _SAME_RATE * min(
        wanted_hz, max((rate or wanted_hz for rate in rates.values()), default=wanted_hz)
    )
    reaching = [mode for mode in at_size if (rates[mode] or wanted_hz) >= enough_hz]
    best = min(reaching, key=lambda mode: (*_RAW_FORMATS, *JPEG_FORMATS).index(mode.form))
    return CaptureFormat(best.form, width_px, height_px, rates[best])


def _sizes(mode: Mode, settings: SourceSettings, shape: float) -> Iterator[Mode]:
    """The one size of a mode, or of a range the one nearest to what is wished."""
    if mode.least_px is None:
        yield mode
        return
    width_px, height_px = _wished(settings, shape)
    sides = [
        low + round((min(max(wish, low), high) - low) / step) * step
        for wish, low, high, step in zip(
            (width_px, height_px),
            mode.least_px,
            (mode.width_px, mode.height_px),
            mode.steps_px,
            strict=True,
        )
    ]
    yield Mode(mode.form, sides[0], sides[1], mode.rates_hz)


def _wished(settings: SourceSettings, shape: float) -> tuple[float, float]:
    width_px, height_px = settings.width_px, settings.height_px
    if width_px is None and height_px is None:
        return DEFAULT_WIDTH_PX, DEFAULT_HEIGHT_PX
    if width_px is not None and height_px is not None:
        return width_px, height_px
    if height_px is not None:
        return height_px * shape, height_px
    assert width_px is not None
    return width_px, width_px / shape


def _distance(
    size: tuple[int, int], settings: SourceSettings, shape: float
) -> tuple[float, float, int]:
    """How far a size is from the wish; then from the shape; the smaller of equals."""
    width_px, height_px = size
    wished_width_px, wished_height_px = _wished(settings, shape)
    off = abs(math.log(width_px / wished_width_px)), abs(math.log(height_px / wished_height_px))
    one_side = (settings.width_px is None) != (settings.height_px is None)
    if one_side:
        first = off[0] if settings.height_px is None else off[1]
        return first, abs(math.log(width_px / height_px / shape)), width_px * height_px
    return sum(off), 0.0, width_px * height_px


def _rate(rates_hz: Sequence[float], wanted_hz: float) -> float | None:
    """The lowest that reaches it, else the highest; None where none is listed."""
    enough = [rate for rate in rates_hz if rate >= _SAME_RATE * wanted_hz]
    return min(enough) if enough else max(rates_hz, default=None)


def alternatives(modes: Iterable[Mode]) -> str:
    """Say for people what a camera lists: of each format its sizes with their fastest rate."""
    parts: dict[str, list[str]] = {}
    for mode in modes:
        least = f"{mode.least_px[0]}x{mode.least_px[1]} to " if mode.least_px is not None else ""
        rate = f" at {mode.rates_hz[0]:.4g}" if mode.rates_hz else ""
        form = mode.form if mode.is_usable else f"{mode.form} (not decoded)"
        parts.setdefault(form, []).append(f"{least}{mode.width_px}x{mode.height_px}{rate}")
    return "; ".join(
        f"{form} {', '.join(dict.fromkeys(sizes))}" for form, sizes in sorted(parts.items())
    )


def listed(device: str) -> list[Mode]:
    """Return what the camera at a device node lists, none where it lists nothing.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return [mode for form in _forms(descriptor) for mode in _modes(descriptor, form)]
    finally:
        os.close(descriptor)


def _asked(descriptor: int, request: int, layout: struct.Struct, *values: object) -> bytes | None:
    """One answer of the driver, None at the end of its list."""
    buffer = array.array("B", layout.pack(*values))
    try:
        fcntl.ioctl(descriptor, request, buffer)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise
    return buffer.tobytes()


def _forms(descriptor: int) -> Iterator[bytes]:
    for kind in _CAPTURES:
        for index in range(_MOST):
            answer = _asked(descriptor, _ENUM_FMT, _FORMAT, index, kind, 0, b"", b"", 0)
            if answer is None:
                break
            yield _FORMAT.unpack(answer)[4]


def _modes(descriptor: int, form: bytes) -> Iterator[Mode]:
    name = form.decode("latin-1")
    for index in range(_MOST):
        answer = _asked(descriptor, _ENUM_SIZES, _SIZE, index, form, 0, *[0] * 6)
        if answer is None:
            return
        kind, *sides = _SIZE.unpack(answer)[2:]
        if kind == _DISCRETE:
            width_px, height_px = sides[:2]
            rates_hz = tuple(_rates(descriptor, form, width_px, height_px))
            yield Mode(name, width_px, height_px, rates_hz)
            continue
        least_width, width_px, step_width, least_height, height_px, step_height = sides
        rates_hz = tuple(_rates(descriptor, form, width_px, height_px))
        steps = (max(1, step_width), max(1, step_height))
        yield Mode(name, width_px, height_px, rates_hz, (least_width, least_height), steps)
        return


def _rates(descriptor: int, form: bytes, width_px: int, height_px: int) -> list[float]:
    """Pictures a second, the fastest first; the ends of a range."""
    found: set[float] = set()
    for index in range(_MOST):
        answer = _asked(
            descriptor, _ENUM_RATES, _RATE, index, form, width_px, height_px, 0, *[0] * 6
        )
        if answer is None:
            break
        kind, *numbers = _RATE.unpack(answer)[4:]
        # A fraction is an interval; of a range the shortest and the longest.
        pairs = [numbers[:2]] if kind == _DISCRETE else [numbers[:2], numbers[2:4]]
        found |= {below / above for above, below in pairs if above and below}
        if kind != _DISCRETE:
            break
    return sorted(found, reverse=True)
