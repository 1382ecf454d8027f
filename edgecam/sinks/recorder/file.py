"""The file of the flight recorder: gzip-compressed JSON lines, a header and then frame by frame.

The header has the settings of the rules, no other, and what the analysis remembered before the
first frame. A frame's line has what the models found in it, before masks, tracks and smoothing,
and the events that followed. Numbers are exact: the same analysis tells the same events again.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from edgecam.analysis.checkpoint import Checkpoint, check_shapes, plain, rebuilt
from edgecam.core.errors import EdgecamError
from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Result
from edgecam.settings.events import EventSettings
from edgecam.settings.scene import (
    LineSettings,
    MaskSettings,
    SceneSettings,
    TrackingSettings,
    ZoneSettings,
)
from edgecam.settings.schema import Settings

SUFFIX = ".recording.gz"
SCHEMA = 1
# A recording of minutes is some ten megabytes of text; more than this is none of ours.
MAX_TEXT_BYTES = 200_000_000
MAX_LINE_BYTES = 20_000_000
# Four minutes at 400 frames a second.
MAX_FRAMES = 100_000
_SHOWN = 80


class RecordingError(EdgecamError):
    """A recording cannot be read, or does not give its events again."""

    page = "recorder"


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sections of the settings that decide on events."""

    zone: tuple[ZoneSettings, ...] = ()
    mask: tuple[MaskSettings, ...] = ()
    line: tuple[LineSettings, ...] = ()
    scene: SceneSettings = SceneSettings()
    tracking: TrackingSettings = TrackingSettings()
    events: EventSettings = EventSettings()

    @classmethod
    def of(cls, settings: Settings) -> RuleSettings:
        """Return the part of the settings that decides about events."""
        return cls(**{name: getattr(settings, name) for name in cls.__struct_fields__})

    def whole(self) -> Settings:
        """Settings with these sections, and every other one as it is by default."""
        return Settings(**msgspec.structs.asdict(self))


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    kind: Literal["edgecam recording"] = "edgecam recording"
    schema: Literal[1] = 1
    edgecam: Annotated[str, Meta(description="version that wrote it")]
    name: str
    boot_id: str
    trigger: Event
    finds_poses: bool
    periods_s: Mapping[str, float] = msgspec.field(default_factory=dict)
    settings: RuleSettings
    checkpoint: Checkpoint


class FrameRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame, without its picture, unless pictures are recorded: then some have a JPEG."""

    sequence: int
    captured_s: float
    captured_unix_s: float
    media_time_s: float | None = None
    file: str | None = None
    width_px: Annotated[int, Meta(ge=1, le=65535)]
    height_px: Annotated[int, Meta(ge=1, le=65535)]
    found: Mapping[str, Decoded]
    repeated: bool = False
    waiting: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    jpeg: bytes | None = None

    @property
    def time_s(self) -> float:
        """The clock of the analysis, as in ``Frame``."""
        return self.captured_s if self.media_time_s is None else self.media_time_s

    def result(self) -> Result:
        """As it came from the models; the frame is black."""
        shape = (self.height_px, self.width_px, 3)
        image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), shape)
        frame = Frame(
            image,
            self.sequence,
            self.captured_s,
            self.captured_unix_s,
            self.media_time_s,
            self.file,
        )
        return Result(frame, self.found, repeated=self.repeated, waiting=frozenset(self.waiting))


def frame_record(result: Result) -> FrameRecord:
    """What is kept of a result; the picture is not."""
    frame, insight = result.frame, result.insight
    return FrameRecord(
        sequence=frame.sequence,
        captured_s=frame.captured_s,
        captured_unix_s=frame.captured_unix_s,
        media_time_s=frame.media_time_s,
        file=frame.file,
        width_px=frame.width_px,
        height_px=frame.height_px,
        found=result.by_model if result.untracked is None else result.untracked,
        repeated=result.repeated,
        waiting=tuple(sorted(result.waiting)),
        events=insight.events if insight is not None else (),
    )


class Recording(msgspec.Struct, frozen=True):
    """A whole one."""

    header: Header
    frames: tuple[FrameRecord, ...]


def encode(header: Header, frames: Iterable[FrameRecord], jpegs: Mapping[int, bytes]) -> bytes:
    """The bytes of a file; ``jpegs`` are pictures by the frame's sequence."""
    encoder = msgspec.json.Encoder(enc_hook=plain)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(encoder.encode(header) + b"\n")
        for record in frames:
            jpeg = jpegs.get(record.sequence)
            if jpeg is not None:
                record = msgspec.structs.replace(record, jpeg=jpeg)
            file.write(encoder.encode(record) + b"\n")
    return packed.getvalue()


def is_recording(path: Path) -> bool:
    """Whether the name is that of a recording."""
    return path.name.endswith(SUFFIX)


def _lines(path: Path) -> Iterator[bytes]:
    total = 0
    with gzip.open(path) as file:
        while line := file.readline(MAX_LINE_BYTES):
            total += len(line)
            if total > MAX_TEXT_BYTES or len(line) == MAX_LINE_BYTES:
                raise ValueError(
                    f"more than {MAX_TEXT_BYTES} bytes unpacked, or {MAX_LINE_BYTES} in a line"
                )
            if not line.endswith(b"\n"):
                raise ValueError("it ends within a line")
            yield line


def _header(line: bytes) -> Header:
    about: Any = msgspec.json.decode(line)
    if not isinstance(about, dict) or "kind" not in about:
        raise ValueError("other JSON")
    if about.get("schema") != SCHEMA:
        found = f"schema {about.get('schema')}, of edgecam {about.get('edgecam')}"
        raise ValueError(found[:_SHOWN])
    header = msgspec.json.decode(line, type=Header, dec_hook=rebuilt)
    check_shapes(header)
    return header


def read(path: Path) -> Recording:
    """Read a recording.

    Raises:
        RecordingError: it cannot be read, is damaged, or is of another version.
    """
    try:
        lines = _lines(path)
        header = _header(next(lines, b"null"))
        decoder = msgspec.json.Decoder(FrameRecord, dec_hook=rebuilt)
        frames = tuple(map(decoder.decode, itertools.islice(lines, MAX_FRAMES)))
        if len(frames) == MAX_FRAMES and next(lines, None) is not None:
            raise ValueError(f"more than {MAX_FRAMES} frames")
        check_shapes(frames)
        return Recording(header, frames)
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, EOFError, RecursionError, zlib.error) as error:
        # msgspec's errors are ValueErrors.
        reason = str(error)
    raise RecordingError(
        f"{path}: expected a recording of edgecam, schema {SCHEMA}, found: {reason}; "
        "give a file that the recorder wrote"
    )
