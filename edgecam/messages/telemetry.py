"""Telemetry: its fields, and its payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edgecam.messages.format import SCHEMA, SchemaNumber


class RecorderReport(Struct, frozen=True, kw_only=True):
    """The flight recorder: ready or failing and why, and what it keeps."""

    state: str
    reason: str | None = None
    files: int | None = None
    bytes: int | None = None


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


def telemetry_payload(telemetry: Telemetry) -> bytes:
    """Return the payload of ``edgecam/<name>/telemetry``."""
    return msgspec.json.encode(telemetry)
