"""Where frames come from: what a source is called says which file here opens it."""

from __future__ import annotations

import os
import re
import threading
from typing import Literal
from urllib.parse import unquote, urlsplit

from edgecam.core.places import expanded
from edgecam.core.redaction import shown
from edgecam.core.result import Source, SourceError
from edgecam.settings.schema import MqttSettings, SourceSettings

KINDS = (
    "a camera index, /dev/v4l/by-id/..., picamera, rtsp://, http://, mqtt://HOST/TOPIC, "
    "a video file, a directory or a glob of pictures"
)

MQTT = ("mqtt", "mqtts")

Kind = Literal["stream", "pictures", "local"]


def _scheme(url: str) -> str:
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", url)
    return match[1].lower() if match else ""


def is_recording(settings: SourceSettings) -> bool:
    """Whether ``open_source`` will open something that is not live, without opening it."""
    url = settings.url
    a_camera = url.isdecimal() or url.startswith("/dev/") or url.partition(":")[0] == "picamera"
    return _scheme(url) in ("", "file") and not a_camera and not settings.realtime


def serves_several(settings: SourceSettings) -> bool:
    """Whether frames of many cameras come from it, each with its camera's name.

    Raises:
        SettingsError, SourceError: it is an MQTT URL, and none that can be opened.
    """
    if _scheme(settings.url) not in MQTT:
        return False
    from edgecam.mqtt.frame_topics import parse_source

    return parse_source(settings.url).several


def check_url(url: str) -> Kind:
    """What kind of source ``url`` names: ``stream``, ``pictures`` (on a broker) or ``local``.

    Raises:
        SettingsError: a broker's URL that is none.
        SourceError: it is of no known kind, or no URL although it looks like one.
    """
    scheme = _scheme(url)
    if scheme in ("rtsp", "rtsps", "http", "https"):
        from edgecam.sources.url import parse

        parse(url)
        return "stream"
    if scheme in MQTT:
        from edgecam.mqtt.frame_topics import parse_source

        parse_source(url)
        return "pictures"
    if scheme not in ("", "file"):
        raise SourceError(f"source {scheme}:// is of no known kind; expected {KINDS}")
    if shown(url) != url and not os.path.exists(url):
        raise SourceError(
            f"{shown(url)}: no such file, and no URL; expected rtsp://USER:PASSWORD@HOST/PATH or "
            "http://HOST/PATH for a camera"
        )
    return "local"


def open_source(
    settings: SourceSettings,
    stop: threading.Event | None = None,
    mqtt: MqttSettings | None = None,
) -> Source:
    """Open what ``settings.url`` names; raises SourceError with one line where it cannot.

    ``stop``, once set, ends the wait for a camera that is slow to open. ``mqtt`` says how to log
    in to a broker that pictures come from.
    """
    url = settings.url
    kind = check_url(url)
    if kind == "stream":
        from edgecam.sources.network import open_network

        return open_network(settings, stop)
    if kind == "pictures":
        from edgecam.mqtt.frame_topics import parse_source
        from edgecam.sources.mqtt import MqttSource

        return MqttSource(parse_source(url), settings, mqtt or MqttSettings(), stop)
    if _scheme(url) == "file":
        return _open_recording(unquote(urlsplit(url).path), settings)
    if url.isdecimal() or url.startswith("/dev/"):
        from edgecam.sources.camera import open_camera

        return open_camera(settings, stop)
    if url.partition(":")[0] == "picamera":
        from edgecam.sources.picamera import open_picamera

        return open_picamera(settings, stop)
    return _open_recording(expanded(url, "source.url"), settings)


def _open_recording(path: str, settings: SourceSettings) -> Source:
    if not settings.loop:
        return _open_file(path, settings)
    from edgecam.sources.loop import Loop

    return Loop(lambda: _open_file(path, settings))


def _open_file(path: str, settings: SourceSettings) -> Source:
    # They need OpenCV, which doctor does without.
    from edgecam.sources import images
    from edgecam.sources.picture import max_pixels

    most = max_pixels(settings, live=False)
    is_picture = os.path.splitext(path)[1].lower() in images.SUFFIXES
    if images.is_pattern(path) or os.path.isdir(path) or is_picture:
        return images.Images(
            path, rate_hz=settings.rate_hz, realtime=settings.realtime, max_pixels=most
        )
    from edgecam.sources.video import VideoFile

    return VideoFile(path, realtime=settings.realtime, max_pixels=most)
