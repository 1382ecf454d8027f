"""OpenCV as it was built, the cameras that are there, and the source that the settings name."""

from __future__ import annotations

import array
import fcntl
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edgecam.core.errors import SettingsError, SourceError
from edgecam.core.frame import Frame
from edgecam.settings.schema import MqttSettings, Settings, SourceSettings
from edgecam.sources import remedies
from edgecam.sources.camera_formats import alternatives, listed
from edgecam.sources.kinds import remedy
from edgecam.tools.doctor.finding import Finding, fail, ok, warn
from edgecam.tools.doctor.system import BOARD_MODEL

DEVICES = Path("/dev")
FRAME_TIMEOUT_S = 5.0
# linux/videodev2.h: VIDIOC_QUERYCAP and the fields of struct v4l2_capability.
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_DEVICE_CAPS = 0x80000000
_VIDEO_CAPTURE = 0x00000001 | 0x00001000  # single- and multi-planar
_MEMORY_TO_MEMORY = 0x00008000 | 0x00004000
# The media controller sets such a node up, not who opens it: sensors that libcamera drives.
_BY_MEDIA_CONTROLLER = 0x20000000
# Parts of a board's own ISP from before that flag was set everywhere.
_ISP_DRIVERS = (b"unicam", b"bcm2835-isp", b"rp1-cfe", b"pispbe", b"rkisp1")
_PI_WITHOUT_PICAMERA2 = (
    "for a camera on the ribbon cable: apt install python3-picamera2 and make the virtual "
    "environment with --system-site-packages; else check the plug"
)


def _built_with(information: str, key: str) -> str | None:
    """What ``getBuildInformation`` says after ``key:``, None where that is NO or NONE."""
    found = re.search(rf"^\s*{re.escape(key)}:\s*(.*?)\s*$", information, re.MULTILINE)
    if found is None or found[1].upper().startswith("NO"):
        return None
    return found[1]


def opencv(settings: Settings) -> Iterator[Finding]:
    """Whether OpenCV loads, and what it was built with."""
    from edgecam.core.opencv import cv2

    information = cv2.getBuildInformation()
    window = _built_with(information, "GUI")
    streams = _built_with(information, "FFMPEG")
    devices = _built_with(information, "v4l/v4l2")
    parts = (("FFmpeg", streams), ("V4L2", devices), ("windows", window))
    built = ", ".join(name for name, found in parts if found is not None) or "none of its parts"
    yield ok("opencv", f"{cv2.__version__} with {built}; libGL and GLib load")
    if streams is None:
        remedy = "pip install opencv-python, whose wheels have it"
        yield fail("opencv", "built without FFmpeg: no RTSP, no video files", remedy)
    if devices is None:
        remedy = "pip install opencv-python, whose wheels have it"
        yield warn("opencv", "built without V4L2: no USB cameras", remedy)
    if window is None:
        level = fail if settings.output.show else warn
        remedy = "pip uninstall opencv-python-headless && pip install opencv-python"
        yield level("opencv", "built without windows: --show cannot work", remedy)
    elif os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        yield ok("opencv", f"a display is there, for windows by {window}")
    elif settings.output.show:
        remedy = "log in to a desktop, or drop output.show"
        yield fail("opencv", f"windows by {window}, but there is no display", remedy)
    else:
        yield ok("opencv", "no display here, so no --show")


def camera_name(capability: bytes) -> str | None:
    """The name in a ``struct v4l2_capability``; None for what OpenCV gets no pictures from.

    That is codecs, metadata nodes, and a board's own ISP and sensors, which libcamera drives.
    """
    driver, card, _, _, whole, node = _CAPABILITY.unpack(capability)
    capabilities = node if whole & _DEVICE_CAPS else whole
    if not capabilities & _VIDEO_CAPTURE or capabilities & _MEMORY_TO_MEMORY:
        return None
    if capabilities & _BY_MEDIA_CONTROLLER or driver.startswith(_ISP_DRIVERS):
        return None
    return str(card.split(b"\0")[0].decode("utf-8", "replace"))


def _query(device: Path) -> str | None:
    """The name of the camera behind a device node, None where there is none.

    Raises:
        PermissionError: this user may not open it.
    """
    buffer = array.array("B", bytes(_CAPABILITY.size))
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, _QUERYCAP, buffer)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return camera_name(buffer.tobytes())


def first_frame(settings: SourceSettings, mqtt: MqttSettings) -> Frame:
    """One picture of a source.

    Raises:
        SourceError: it does not open, or gives no picture in time.
    """
    from edgecam.sources import open_source

    source = open_source(msgspec.structs.replace(settings, wait=False), mqtt=mqtt)
    ending = threading.Timer(FRAME_TIMEOUT_S, source.close)
    ending.start()
    try:
        frame = next(iter(source.frames()), None)
    finally:
        ending.cancel()
        source.close()
    if frame is None:
        raise SourceError(
            f"{source.description}: opens, but gave no picture in {FRAME_TIMEOUT_S:g} s", "silent"
        )
    return frame


def _holder(url: str) -> str | None:
    """The unit of edgecam that has this camera open, None where it is another program or none."""
    node = Path(f"/dev/video{url}" if url.isdecimal() else url).resolve()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.resolve() != node:
                continue
            group = (link.parents[1] / "cgroup").read_text("utf-8", "replace")
        except OSError:  # it ended, or is another user's
            continue
        found = re.search(r"edgecam(@[^/\s]+)?\.service", group)
        if found is not None:
            return found[0]
    return None


def _try(check: str, name: str, settings: SourceSettings, mqtt: MqttSettings) -> Finding:
    started_s = time.monotonic()
    try:
        frame = first_frame(settings, mqtt)
    except (SourceError, SettingsError) as error:
        if error.kind == "occupied" and (unit := _holder(settings.url)) is not None:
            return ok(check, f"{name}: {unit} has it open")
        known = remedy(settings.url, error.kind)
        if known is not None:
            return fail(check, str(error).removesuffix(f"; {known}"), known)
        text, _, last = str(error).rpartition("; ")
        if text:
            return fail(check, text, last)
        return fail(check, last, "fix source.url in the settings, or what it names")
    took_s = time.monotonic() - started_s
    size = f"{frame.width_px}x{frame.height_px}"
    return ok(check, f"{name}: a picture of {size} after {took_s:.1f} s")


def cameras(settings: Settings) -> Iterator[Finding]:
    """Every V4L2 camera and picamera2, with one picture from each."""
    names = {link.resolve(): link for link in sorted((DEVICES / "v4l/by-id").glob("*"))}
    found = 0
    for device in sorted(DEVICES.glob("video[0-9]*")):
        try:
            card = _query(device)
        except PermissionError:
            yield fail("camera", f"{device}: no permission", remedies.OF_CAMERA["forbidden"])
            found += 1
            continue
        if card is not None:
            found += 1
            url = str(names.get(device, device))
            yield _try("camera", f"{card}, {url}", SourceSettings(url=url), settings.mqtt)
            yield from _listed(device)
    if find_spec("picamera2") is not None:
        yield _try("camera", "picamera", SourceSettings(url="picamera"), settings.mqtt)
    elif not found:
        pi = BOARD_MODEL.exists() and "Raspberry Pi" in BOARD_MODEL.read_text("utf-8")
        remedy = _PI_WITHOUT_PICAMERA2 if pi else "plug one in, or use --source rtsp://..., a file"
        yield warn("camera", "none attached", remedy)


def _listed(device: Path) -> Iterator[Finding]:
    """What a camera could be asked for with source.width_px, height_px and rate_hz."""
    try:
        found = alternatives(listed(str(device)))
    except OSError:
        return
    if found:
        yield ok("camera", f"{device} lists {found}")


def source(settings: Settings) -> Iterator[Finding]:
    """The source that the settings name, if they name one."""
    if settings.source != SourceSettings():
        yield _try("source", "as the settings say", settings.source, settings.mqtt)
