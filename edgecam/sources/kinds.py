"""Registry of the sources: a source is one file here and one line in ``SOURCES``."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from edgecam.core.errors import SourceError
from edgecam.settings.schema import MqttSettings, SourceSettings
from edgecam.sources import remedies


@dataclass(frozen=True, slots=True)
class Opening:
    """What a source is opened with.

    ``stop``, once set, ends the wait for a camera that is slow to open. ``mqtt`` says how to log
    in to a broker that pictures come from. ``own`` are a plugin's own settings.
    """

    settings: SourceSettings
    stop: threading.Event | None = None
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    own: Any = None


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source.

    ``opener`` is ``MODULE:FUNCTION``, called with an ``Opening``; ``check``, called with the URL,
    refuses one that cannot be opened, and ``several`` says whether many cameras come by it.
    None of these modules is loaded before. ``help`` is how people write such a source, empty
    where another line says it. ``live``: frames come in their own time, not as fast as they are
    taken. ``holds_login``: its URL may hold a password. ``remedies`` maps the kind of a fault to
    what helps against it. ``settings_type``: of a plugin that has settings of its own.
    ``turns``: the degrees of ``source.rotate`` by which the source itself turns its pictures, and
    then mirrors them too, as ``source.mirror`` asks.
    """

    opener: str
    help: str = ""
    live: bool = True
    check: str | None = None
    several: str | None = None
    holds_login: bool = False
    remedies: Mapping[str, str] = field(default_factory=lambda: remedies.OF_CAMERA)
    settings_type: type[Any] | None = None
    turns: frozenset[int] = frozenset()


STANDARD_INPUT = ("-", "/dev/stdin")
_CAMERA = "edgecam.sources.camera:open_camera"
_PICAMERA = "edgecam.sources.picamera:open_picamera"
_FILE = "edgecam.sources.files:open_recording"
_CHECK_PATH = "edgecam.sources.local_path:check_path"
_STREAM: Mapping[str, Any] = {
    "opener": "edgecam.sources.network:open_network",
    "check": "edgecam.sources.url:parse",
    "holds_login": True,
}
_BYTES: Mapping[str, Any] = {
    "opener": "edgecam.sources.byte_stream:open_byte_stream",
    "check": "edgecam.sources.byte_stream:check",
    "holds_login": True,
}
_MQTT: Mapping[str, Any] = {
    "opener": "edgecam.sources.mqtt:open_mqtt",
    "check": "edgecam.mqtt.frame_topics:parse_source",
    "several": "edgecam.mqtt.frame_topics:serves_several",
    "remedies": remedies.OVER_MQTT,
}
# By the scheme of a URL; camera, picamera and file stand for what is written without one.
SOURCES: Mapping[str, SourceKind] = {
    "camera": SourceKind(_CAMERA, "a camera index, /dev/v4l/by-id/..."),
    "picamera": SourceKind(
        _PICAMERA, "picamera", remedies=remedies.ON_RIBBON, turns=frozenset({0, 180})
    ),
    "rtsp": SourceKind(help="rtsp://", **_STREAM),
    "rtsps": SourceKind(**_STREAM),
    "http": SourceKind(help="http://", **_STREAM),
    "https": SourceKind(**_STREAM),
    "tcp": SourceKind(help="tcp://HOST:PORT", **_BYTES),
    "udp": SourceKind(help="udp://HOST:PORT", **_BYTES),
    "rtmp": SourceKind(help="rtmp://", **_BYTES),
    "mqtt": SourceKind(help="mqtt://HOST/TOPIC", **_MQTT),
    "mqtts": SourceKind(**_MQTT),
    "file": SourceKind(
        _FILE,
        "demo (the bundled clip), a video file, a FIFO, - for standard input, a folder or a glob "
        "of pictures",
        False,
        _CHECK_PATH,
    ),
}


def expected(sources: Mapping[str, SourceKind] = SOURCES) -> str:
    """Return every way to write a source, for people."""
    return ", ".join(kind.help for kind in sources.values() if kind.help)


def scheme_of(url: str) -> str:
    """Return the key in ``SOURCES`` that ``url`` asks for, whether or not it is there."""
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", url)
    if match:
        return match[1].lower()
    if url in STANDARD_INPUT:
        return "file"
    if url.isdecimal() or url.startswith("/dev/"):
        return "camera"
    return "picamera" if url.partition(":")[0] == "picamera" else "file"


def kind_of(url: str, sources: Mapping[str, SourceKind] = SOURCES) -> SourceKind:
    """Return what kind of source ``url`` names.

    Raises:
        SourceError: it is of no known kind.
    """
    scheme = scheme_of(url)
    if scheme not in sources:
        raise SourceError(f"source {scheme}:// is of no known kind; expected {expected(sources)}")
    return sources[scheme]


def check(url: str, sources: Mapping[str, SourceKind] = SOURCES) -> SourceKind:
    """Return what kind of source ``url`` names, once it can be one.

    Raises:
        SettingsError: a broker's URL that is none.
        SourceError: it is of no known kind, or no URL although it looks like one.
    """
    kind = kind_of(url, sources)
    if kind.check is not None:
        resolve_name(kind.check)(url)
    return kind


def remedy(url: str, fault: str | None) -> str | None:
    """Return what helps against a fault of the source ``url``, where that is known."""
    kind = SOURCES.get(scheme_of(url))
    return None if fault is None or kind is None else kind.remedies.get(fault)
