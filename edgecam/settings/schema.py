"""Every setting with its unit, default and check; TOML file, then environment, then flags.

A key is written ``section.key``: ``[mqtt] url`` in TOML, ``EDGECAM_MQTT_URL`` in the environment.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgecam.core.protocols import DecodeOptions
from edgecam.settings.access import RemoteSettings, WebSettings
from edgecam.settings.board import TelemetrySettings, ThermalSettings
from edgecam.settings.events import EventSettings
from edgecam.settings.recorder import RecorderSettings
from edgecam.settings.scene import (
    CropSettings,
    LineSettings,
    MaskSettings,
    MotionSettings,
    SceneSettings,
    TrackingSettings,
    ZoneSettings,
)
from edgecam.settings.section import (
    Count,
    Fraction,
    Hertz,
    Megapixels,
    Pixels,
    Seconds,
    Section,
    Size,
    Slug,
    Threads,
    Title,
    TopicName,
)
from edgecam.settings.webhook import WebhookSettings

# What runs where no model is named.
DEFAULT_MODEL = "posenet"


class ModelSettings(Section, frozen=True):
    """One model; ``[[model]]`` in TOML, ``--model`` (several times) on the command line."""

    path: Annotated[str, Meta(min_length=1, description="file, or the name of a bundled model")]
    input_size: Annotated[
        Size | None, Meta(description="HEIGHTxWIDTH; PoseNet only, sides 16n+1")
    ] = None
    labels: Annotated[str | None, Meta(description="label file, one per line or .pbtxt")] = None
    decoder: Annotated[
        Literal["auto", "tfjs", "coral"], Meta(description="PoseNet decoding rules")
    ] = "auto"
    fit: Annotated[
        Literal["auto", "letterbox", "stretch", "crop"],
        Meta(description="how a frame fills the model input; auto is what suits its family"),
    ] = "auto"
    rate_hz: Annotated[
        Hertz | None, Meta(description="frames a second that it looks at, at most; default all")
    ] = None
    keypoints: Annotated[
        Literal["body", "all"],
        Meta(description="all: every landmark of MediaPipe's 33, not COCO's 17 alone"),
    ] = "body"
    publish: Annotated[
        bool, Meta(description="its boxes are results; off: they serve refine alone")
    ] = True


class SourceSettings(Section, frozen=True):
    """Where frames come from."""

    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="camera index, /dev/v4l/by-id/..., picamera, rtsp://, http://, "
            "mqtt://HOST/TOPIC, tcp://, udp:// or rtmp://, file, directory, glob, FIFO, or - for "
            "standard input",
        ),
    ] = "0"
    realtime: Annotated[bool, Meta(description="play a file at its own rate, as if live")] = False
    loop: Annotated[bool, Meta(description="begin a file again at its end, without end")] = False
    rotate: Annotated[
        Literal[0, 90, 180, 270],
        Meta(description="degrees clockwise by which the picture is turned upright"),
    ] = 0
    mirror: Annotated[
        bool,
        Meta(
            description="show the picture as a mirror does, once it is upright; left and right "
            "keypoints stay the person's own"
        ),
    ] = False
    autofocus: Annotated[
        Literal["off", "once", "continuous"],
        Meta(
            description="of Camera Module 3: off leaves the lens at its default distance, once "
            "focuses at each start, continuous whenever the scene changes"
        ),
    ] = "off"
    width_px: Annotated[
        Pixels | None, Meta(description="asked of a camera; alone: in the shape of its largest")
    ] = None
    height_px: Annotated[Pixels | None, Meta(description="asked of a camera, likewise")] = None
    rate_hz: Annotated[
        Hertz | None,
        Meta(description="asked of a camera; the rate of pictures and of files without times"),
    ] = None
    max_megapixels: Annotated[
        Megapixels | None,
        Meta(
            description="larger pictures are not decoded; default 25 from cameras, 100 from files"
        ),
    ] = None
    transport: Annotated[
        Literal["auto", "tcp", "udp"],
        Meta(description="of RTSP's pictures; auto is TCP, and UDP where the camera refuses that"),
    ] = "auto"
    tls_ca_file: Annotated[
        str | None,
        Meta(
            description="CA, or own certificate, of an https:// or rtsps:// camera; default the "
            "system's for https://, none for rtsps://"
        ),
    ] = None
    tls_verify: Annotated[
        bool, Meta(description="refuse a camera whose certificate no CA has signed")
    ] = True
    wait: Annotated[
        bool, Meta(description="start without the camera and wait for it; for a service")
    ] = False
    open_timeout_s: Annotated[Seconds, Meta(description="to open a stream")] = 5.0
    read_timeout_s: Annotated[Seconds, Meta(description="without a frame until offline")] = 3.5
    backoff_min_s: Annotated[Seconds, Meta(description="first wait before reopening")] = 1.0
    backoff_max_s: Annotated[Seconds, Meta(description="longest wait before reopening")] = 30.0
    hold_frames: Annotated[
        int,
        Meta(
            ge=5,
            le=1000,
            description="by MQTT: frames that wait or are processed, at most; so many are lost "
            "with a worker that is killed",
        ),
    ] = 16
    frozen_after_s: Annotated[
        Seconds, Meta(description="the same picture for this long is reported as frozen")
    ] = 60.0


class InferenceSettings(Section, frozen=True):
    """What runs the models."""

    delegate: Annotated[
        str, Meta(description="auto, cpu, edgetpu, gpu, nnapi or PATH[:key=value,...]")
    ] = "auto"
    delegate_required: Annotated[bool, Meta(description="fail rather than fall back")] = False
    threads: Annotated[
        Threads | None, Meta(description="inference threads; default all cores, 4 at most")
    ] = None
    probe: Annotated[bool, Meta(description="try load and one invoke in a child process first")] = (
        True
    )


_DECODE = DecodeOptions()


class DecodeSettings(Section, frozen=True):
    """Thresholds; all may change while edgecam runs."""

    score_threshold: Annotated[
        Fraction, Meta(description="of a person's root keypoint or a box")
    ] = _DECODE.score_threshold
    max_poses: Annotated[int, Meta(ge=1, le=100, description="people per frame")] = (
        _DECODE.max_poses
    )
    nms_radius_px: Annotated[
        float, Meta(ge=0.0, le=1000.0, description="model-input pixels between two people's roots")
    ] = _DECODE.nms_radius_px
    min_pose_score: Annotated[
        Fraction, Meta(description="drops ghost poses; 0 keeps every pose")
    ] = _DECODE.min_pose_score
    nms_iou: Annotated[Fraction, Meta(description="overlap above which a box is dropped")] = (
        _DECODE.nms_iou
    )
    max_detections: Annotated[int, Meta(ge=1, le=1000, description="boxes per frame")] = (
        _DECODE.max_detections
    )
    top_k: Annotated[int, Meta(ge=1, le=100, description="labels of a classifier")] = _DECODE.top_k

    def options(self) -> DecodeOptions:
        """Return the settings as decoders take them."""
        return DecodeOptions(**msgspec.structs.asdict(self))


class MqttSettings(Section, frozen=True):
    """The broker; nothing is published without ``url``."""

    url: Annotated[str | None, Meta(description="mqtt://HOST[:1883] or mqtts://HOST[:8883]")] = None
    username: Annotated[str | None, Meta(description="user name")] = None
    password_file: Annotated[
        str | None,
        Meta(description="file with the password; default systemd credential mqtt-password"),
    ] = None
    ca_file: Annotated[str | None, Meta(description="CA certificates; default the system's")] = None
    certificate_file: Annotated[str | None, Meta(description="client certificate")] = None
    key_file: Annotated[str | None, Meta(description="client key")] = None
    keepalive_s: Annotated[int, Meta(ge=2, le=3600, description="MQTT keep-alive")] = 15
    retain: Annotated[
        bool, Meta(description="let the broker keep states; false for one that refuses that")
    ] = True
    outbox_max_messages: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="events kept while the broker is away; then the oldest goes",
        ),
    ] = 10_000
    outbox_max_bytes: Annotated[
        int, Meta(ge=1024, description="bytes of events kept while the broker is away")
    ] = 4_000_000
    spool: Annotated[bool, Meta(description="keep events that wait for long on the disk too")] = (
        True
    )
    spool_after_s: Annotated[
        Seconds, Meta(description="an event that has waited this long goes on the disk too")
    ] = 5.0
    spool_directory: Annotated[
        str | None,
        Meta(
            description="where NAME.spool is; default the service's state directory, else "
            "~/.local/state/edgecam/NAME",
        ),
    ] = None
    stale_after_s: Annotated[
        Seconds,
        Meta(description="Home Assistant ignores an event that comes so late, or later"),
    ] = 600.0
    max_payload_bytes: Annotated[
        int, Meta(ge=1024, le=268_435_455, description="larger messages are dropped and counted")
    ] = 1_000_000


class HomeAssistantSettings(Section, frozen=True):
    """What goes to Home Assistant by MQTT discovery."""

    enabled: Annotated[
        bool, Meta(description="announce entities to Home Assistant, where there is a broker")
    ] = True
    prefix: Annotated[TopicName, Meta(description="discovery prefix")] = "homeassistant"
    area: Annotated[
        Title | None, Meta(description="room that Home Assistant suggests for the camera")
    ] = None
    birth_topic: Annotated[
        TopicName, Meta(description="where Home Assistant says online when it has started")
    ] = "homeassistant/status"
    labels: Annotated[
        tuple[str, ...],
        Meta(
            description="labels that get entities; default all of a model with up to 20, else "
            "people, vehicles and pets"
        ),
    ] = ()


class SnapshotSettings(Section, frozen=True):
    """Pictures over MQTT; none leaves the board unless a mode is chosen."""

    mode: Annotated[
        Literal["off", "image", "blurred", "skeleton"],
        Meta(description="skeleton: stick figures on black, made of keypoints alone"),
    ] = "off"
    when: Annotated[
        Literal["found", "always", "asked"],
        Meta(description="something is found; whatever is seen; only on command"),
    ] = "found"
    interval_s: Annotated[Seconds, Meta(description="at least, between two pictures")] = 10.0
    width_px: Annotated[Pixels, Meta(description="larger pictures are made this wide")] = 640
    quality: Annotated[int, Meta(ge=1, le=100, description="of the JPEG")] = 80
    retain: Annotated[bool, Meta(description="the broker keeps the last picture")] = False


class OutputSettings(Section, frozen=True):
    """Where results go besides MQTT."""

    jsonl: Annotated[
        str | None, Meta(description="file of JSON lines, one per frame; - is stdout")
    ] = None
    events_jsonl: Annotated[
        str | None, Meta(description="file of JSON lines, one per event; - is stdout")
    ] = None
    result_max_hz: Annotated[
        Hertz | None, Meta(description="results a second, at most; events are not held back")
    ] = None
    dead_band_px: Annotated[
        float,
        Meta(ge=0.0, le=1000.0, description="a keypoint of a track stays until it moved so far"),
    ] = 0.0
    show: Annotated[bool, Meta(description="a window with skeletons, boxes and fps")] = False


class Settings(Section, frozen=True):
    """All of it."""

    name: Annotated[Slug, Meta(description="camera name in topics, [a-z0-9_-]{1,64}")] = "camera"
    title: Annotated[
        Title | None,
        Meta(description="what people call the camera, such as Front door; default from its name"),
    ] = None
    watchdog_s: Annotated[
        Seconds | None,
        Meta(description="end when a stage is stuck this long; for supervisors without systemd's"),
    ] = None
    max_frames: Annotated[Count | None, Meta(description="stop after this many frames")] = None
    rate_hz: Annotated[
        Hertz | None, Meta(description="frames a second that are looked at, at most; default all")
    ] = None
    priority: Annotated[
        float, Meta(gt=0.0, le=100.0, description="share of the models beside other cameras")
    ] = 1.0
    boost_when: Annotated[
        tuple[str, ...],
        Meta(description="labels, or fall: while one is seen the camera gets four times its share"),
    ] = ()
    models: Annotated[
        tuple[str, ...], Meta(description="which of the models look; default all")
    ] = ()
    accuracy: Annotated[
        Literal["fast", "balanced", "best"],
        Meta(description="which models look where none is named"),
    ] = "balanced"
    refine: Annotated[
        str | None,
        Meta(description="model that looks once more at each person found, such as thunder"),
    ] = None
    refine_max_people: Annotated[
        int, Meta(ge=1, le=100, description="people refined in one frame, at most")
    ] = 5
    refine_mirrored: Annotated[
        bool, Meta(description="look at each person mirrored too: better, at twice the time")
    ] = False
    plugins: Annotated[
        tuple[Slug, ...],
        Meta(description="decoders, rules, sources and sinks of other packages to load"),
    ] = ()
    plugin: Annotated[
        dict[Slug, dict[str, Any]],
        Meta(description="a table [plugin.NAME] for each: its own settings"),
    ] = msgspec.field(default_factory=dict)
    turned_look_s: (
        Annotated[
            float,
            Meta(
                ge=0.0,
                le=86400.0,
                description="between two looks at the turned frame, which find people who lie; at "
                "once where a person is lost inside it; 0 is off; by default 10, and none at "
                "pictures of a folder",
            ),
        ]
        | None
    ) = None
    model: tuple[ModelSettings, ...] = ()
    zone: tuple[ZoneSettings, ...] = ()
    mask: tuple[MaskSettings, ...] = ()
    line: tuple[LineSettings, ...] = ()
    webhook: tuple[WebhookSettings, ...] = ()
    motion: MotionSettings = MotionSettings()
    crop: CropSettings = CropSettings()
    scene: SceneSettings = SceneSettings()
    tracking: TrackingSettings = TrackingSettings()
    events: EventSettings = EventSettings()
    source: SourceSettings = SourceSettings()
    inference: InferenceSettings = InferenceSettings()
    decode: DecodeSettings = DecodeSettings()
    mqtt: MqttSettings = MqttSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    recorder: RecorderSettings = RecorderSettings()
    output: OutputSettings = OutputSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    thermal: ThermalSettings = ThermalSettings()
    remote: RemoteSettings = RemoteSettings()
    web: WebSettings = WebSettings()

    def __post_init__(self) -> None:
        unlisted = next((name for name in self.plugin if name not in self.plugins), None)
        if unlisted is not None:
            raise ValueError(f"Expected {unlisted} in plugins, as it has a table, found it in none")
        for kind in ("zone", "mask", "line", "webhook"):
            names = [each.name for each in getattr(self, kind)]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"Expected different names, found {kind} {twice} twice")
