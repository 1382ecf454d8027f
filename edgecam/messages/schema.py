"""The shapes of the messages: what each JSON object holds, key by key, with its JSON schema.

Coordinates are source-frame pixels. In a result an absent key means that there is nothing to
say; in telemetry an unknown value is ``null``, never 0. ``SCHEMA`` grows when a key changes its
meaning or goes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edgecam.core.events import EventType
from edgecam.core.keypoints import NAMES
from edgecam.messages.recorder_report import RecorderReport

SCHEMA: Final = 1
SchemaNumber = Annotated[Literal[1], Meta(description="version of this format")]

Box = Annotated[
    tuple[float, float, float, float], Meta(description="x_min, y_min, x_max, y_max in pixels")
]
Score = Annotated[float, Meta(ge=0.0, le=1.0, description="0..1")]
Track = Annotated[int, Meta(description="id from frame to frame")]
ModelName = Annotated[str, Meta(description="which model; only where several run")]


class Keypoint(Struct, frozen=True, gc=False):
    """One joint: x, y in source-frame pixels (may lie outside the frame), score 0..1."""

    x: float
    y: float
    score: Score


class PoseMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One person, or what else has joints.

    The box holds the keypoints that score 0.3 or more (all, if none does).
    """

    score: Score
    track: Track | UnsetType = UNSET
    box: Box
    keypoints: Annotated[
        dict[str, Keypoint],
        Meta(
            description="by name, in the skeleton's order, all of them, however low their score",
            examples=[list(NAMES)],
        ),
    ]
    skeleton: (
        Annotated[str, Meta(description="whose keypoints they are; only where not COCO's 17")]
        | UnsetType
    ) = UNSET
    model: ModelName | UnsetType = UNSET


class DetectionMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One labelled box; class_id is the model's own number."""

    label: str
    class_id: int
    score: Score
    track: Track | UnsetType = UNSET
    box: Box
    model: ModelName | UnsetType = UNSET


class ClassMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One label of the whole picture."""

    label: str
    class_id: int
    score: Score
    model: ModelName | UnsetType = UNSET


class Corner(Struct, frozen=True, gc=False):
    """One corner of a page: x, y in source-frame pixels (may lie outside the frame)."""

    x: float
    y: float


class DocumentMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One page."""

    corners: Annotated[
        tuple[Corner, Corner, Corner, Corner],
        Meta(description="clockwise from the one nearest to the frame's top left"),
    ]
    score: Score
    model: ModelName | UnsetType = UNSET


class FrameSize(Struct, frozen=True, gc=False):
    """The source frame, pixels."""

    width: int
    height: int


class ResultMessage(Struct, frozen=True, kw_only=True):
    """One processed frame: ``edgecam/<name>/result``, and a line of JSON lines."""

    schema: SchemaNumber = SCHEMA
    name: Annotated[str, Meta(description="name of the camera")]
    worker: (
        Annotated[str, Meta(description="name of the instance, where it serves several cameras")]
        | UnsetType
    ) = UNSET
    boot_id: Annotated[str, Meta(description="new at every start")] | UnsetType = UNSET
    sequence: Annotated[int, Meta(description="frame number; gaps are frames not processed")]
    time_unix_s: Annotated[float, Meta(description="wall clock at capture")] | UnsetType = UNSET
    age_ms: Annotated[float, Meta(description="from capture to publish")] | UnsetType = UNSET
    media_time_s: Annotated[float, Meta(description="position in a recording")] | UnsetType = UNSET
    file: Annotated[str, Meta(description="picture of a directory source")] | UnsetType = UNSET
    frame: FrameSize
    model: Annotated[str, Meta(description="models that saw the frame, joined by +")]
    repeated: (
        Annotated[bool, Meta(description="nothing moved: what the look before found")] | UnsetType
    ) = UNSET
    poses: tuple[PoseMessage, ...]
    detections: tuple[DetectionMessage, ...]
    classes: (
        Annotated[tuple[ClassMessage, ...], Meta(description="only where a classifier runs")]
        | UnsetType
    ) = UNSET
    documents: (
        Annotated[tuple[DocumentMessage, ...], Meta(description="only where a page is seen")]
        | UnsetType
    ) = UNSET


class EventMessage(Struct, frozen=True, kw_only=True):
    """Something that happened: ``edgecam/<name>/event``, and a line of the events file.

    Every key is there, ``delayed_s`` only in an event that comes late; null says that there is
    nothing to say. Only the line of a recording lacks what differs from run to run, and has the
    recording's own times in its place.
    """

    schema: SchemaNumber = SCHEMA
    name: Annotated[str, Meta(description="name of the camera")]
    boot_id: Annotated[str, Meta(description="new at every start")] | UnsetType = UNSET
    sequence: Annotated[int, Meta(description="counts events; with boot_id it tells duplicates")]
    time_unix_s: Annotated[float, Meta(description="wall clock at capture")] | UnsetType = UNSET
    clock_synced: (
        Annotated[bool | None, Meta(description="wall clock set by the network")] | UnsetType
    ) = UNSET
    event_type: Annotated[EventType, Meta(description="what happened")]
    id: Annotated[
        str,
        Meta(description="of the occurrence: entered and exited, fall and recovered share it"),
    ]
    track: Annotated[int, Meta(description="id of the person or thing, as in results")]
    label: Annotated[str, Meta(description="what it is; a pose is a person")]
    zone: Annotated[str | None, Meta(description="name of the zone")]
    started_unix_s: Annotated[float, Meta(description="wall clock when it began")] | UnsetType = (
        UNSET
    )
    media_time_s: Annotated[float, Meta(description="position in a recording")] | UnsetType = UNSET
    started_media_time_s: (
        Annotated[float, Meta(description="position in a recording where it began")] | UnsetType
    ) = UNSET
    dwell_s: Annotated[float, Meta(description="how long it has lasted")]
    score: Annotated[Score, Meta(description="of the pose or box then, 0..1")]
    attributes: Annotated[
        Mapping[str, str | float],
        Meta(
            description="line_crossed: line, direction (left_to_right or right_to_left), by; "
            "wave: hand; sitting and lying: before; left: unseen (seconds); fall: confidence, "
            "drop, lying_seen, still_s, looks"
        ),
    ]
    delayed_s: (
        Annotated[
            float | None,
            Meta(description="how long a late one waited for the broker; null: not known"),
        ]
        | UnsetType
    ) = UNSET


class Rates(Struct, frozen=True, kw_only=True):
    """Frames per second over the last window."""

    captured: float | None = None
    inferred: float | None = None
    published: float | None = None


class Percentiles(Struct, frozen=True, kw_only=True):
    """Milliseconds over the last window."""

    p50: float
    p95: float


class CaptureReport(Struct, frozen=True, kw_only=True):
    """How a local camera takes pictures: the format as V4L2 names it, pixels, pictures a second."""

    form: Annotated[str | None, Meta(description="such as MJPG or YUYV")] = None
    width_px: int | None = None
    height_px: int | None = None
    rate_hz: float | None = None


class SourceReport(Struct, frozen=True, kw_only=True):
    """The camera: state is online, offline, frozen or ended; reason says why it is not online."""

    state: str
    reason: str | None = None
    last_frame_age_s: float | None = None
    reconnects: int = 0
    faults: Mapping[str, int] = msgspec.field(default_factory=dict)
    asked: Annotated[
        CaptureReport | UnsetType, Meta(description="what a local camera was set to")
    ] = UNSET
    got: Annotated[
        CaptureReport | UnsetType, Meta(description="how a local camera takes pictures")
    ] = UNSET


class MqttRefusal(Struct, frozen=True, kw_only=True):
    """What the broker does not take: an ACL or a limit of its own."""

    topic: Annotated[str, Meta(description="a topic, or a filter for many")]
    reason: str


class SpoolReport(Struct, frozen=True, kw_only=True):
    """Events that wait on the disk too: ready, failing, off, or none and why."""

    state: Literal["ready", "failing", "off", "none"]
    reason: str | None = None
    events: Annotated[int, Meta(description="on the disk now")] = 0


class MqttReport(Struct, frozen=True, kw_only=True):
    """The broker connection: connected or disconnected and why, and every message lost."""

    state: str
    reason: str | None = None
    protocol: Annotated[str | None, Meta(description="5 or 3.1.1; null before the first")] = None
    limits: Annotated[
        Sequence[str], Meta(description="what the broker allows less of than usual, in words")
    ] = ()
    refused: Sequence[MqttRefusal] = ()
    outbox_messages: int = 0
    outbox_bytes: int = 0
    oldest_waiting_s: Annotated[
        float | None, Meta(description="how long the oldest event has waited for the broker")
    ] = None
    spool: SpoolReport | None = None
    counters: Mapping[str, int] = msgspec.field(default_factory=dict)


class ThermalReport(Struct, frozen=True, kw_only=True):
    """Whether a hot board gets fewer invokes a second: step 0 is the full rate."""

    step: int = 0
    max_hz: float | None = None
    reason: str | None = None


class ModelReport(Struct, frozen=True, kw_only=True):
    """One model as it really runs."""

    name: str
    family: str | None = None
    finds: Annotated[str | None, Meta(description="poses, boxes, classes or documents")] = None
    delegate: str | None = None
    state: Annotated[
        Literal["running", "failed"], Meta(description="failed: left out, and tried again")
    ] = "running"
    reason: Annotated[str | None, Meta(description="why it failed")] = None
    failures: Annotated[int, Meta(description="since start")] = 0
    rate_hz: Annotated[float | None, Meta(description="as set; null is every frame")] = None
    preprocess_ms: Percentiles | None = None
    invoke_ms: Percentiles | None = None
    decode_ms: Percentiles | None = None


class Telemetry(Struct, frozen=True, kw_only=True):
    """What edgecam says about itself: ``edgecam/<name>/telemetry``; null is "not known here"."""

    schema: SchemaNumber = SCHEMA
    name: Annotated[str, Meta(description="name of the camera")]
    boot_id: Annotated[str, Meta(description="new at every start")]
    sequence: Annotated[int, Meta(description="counts reports since start")]
    time_unix_s: Annotated[float, Meta(description="wall clock")]
    clock_synced: Annotated[bool | None, Meta(description="wall clock set by the network")] = None
    uptime_s: Annotated[float, Meta(description="since start, monotonic")]
    fps: Annotated[Rates, Meta(description="frames per second over the last window")]
    preprocess_ms: Annotated[Percentiles | None, Meta(description="all models of a frame")] = None
    invoke_ms: Annotated[Percentiles | None, Meta(description="all models of a frame")] = None
    decode_ms: Annotated[Percentiles | None, Meta(description="all models of a frame")] = None
    capture_to_publish_ms: Annotated[Percentiles | None, Meta(description="age of results")] = None
    dropped: Annotated[int, Meta(description="frames overtaken by newer ones")] = 0
    reconnects: Annotated[int, Meta(description="of the source")] = 0
    source: Annotated[SourceReport, Meta(description="the camera")]
    runtime: Annotated[str | None, Meta(description="TFLite runtime and version")] = None
    delegate: Annotated[str | None, Meta(description="what really runs the models")] = None
    threads: Annotated[int | None, Meta(description="inference threads")] = None
    temperature_c: Annotated[float | None, Meta(description="of the board")] = None
    throttled: Annotated[bool | None, Meta(description="the board slows itself down")] = None
    paused: Annotated[bool, Meta(description="no frame is processed, as asked for")] = False
    thermal: Annotated[ThermalReport | None, Meta(description="rate lowered by heat")] = None
    rss_bytes: Annotated[int | None, Meta(description="resident memory")] = None
    mqtt: Annotated[MqttReport | None, Meta(description="the broker connection")] = None
    recorder: Annotated[
        RecorderReport | None, Meta(description="the flight recorder, where it is on")
    ] = None
    models: tuple[ModelReport, ...] = ()
    process: Annotated[
        str | UnsetType, Meta(description="name of the process that it shares with other cameras")
    ] = UNSET
    cameras: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(description="names of the cameras of such a process, in its own report alone"),
    ] = UNSET
    counters: Annotated[
        Mapping[str, int], Meta(description="every drop, fallback and look since start, by name")
    ] = msgspec.field(default_factory=dict)


MESSAGES: Mapping[str, type[Struct]] = {
    "event": EventMessage,
    "result": ResultMessage,
    "telemetry": Telemetry,
}


def schema(message: str | None = None) -> dict[str, Any]:
    """The JSON schema (2020-12) of one message of ``MESSAGES``, or of any of them."""
    types = [MESSAGES[message]] if message else list(MESSAGES.values())
    shapes, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    body: dict[str, Any] = dict(shapes[0]) if message else {"anyOf": list(shapes)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"edgecam {message or 'messages'}, schema {SCHEMA}",
        **body,
        "$defs": definitions,
    }
