"""Network streams: ``rtsp://`` through FFmpeg over TCP, ``http://`` as MJPEG or what it is."""

from __future__ import annotations

import threading

from edgecam.settings.schema import SourceSettings
from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import FfmpegEndpoint
from edgecam.sources.live import Endpoint, LiveSource
from edgecam.sources.mjpeg import HttpEndpoint


def open_network(settings: SourceSettings, stop: threading.Event | None = None) -> LiveSource:
    """Open a stream by its URL; raises SourceError where it cannot and need not wait."""
    url = urls.parse(settings.url)
    endpoint: Endpoint
    if url.scheme.startswith("http"):
        endpoint = HttpEndpoint(url, settings)
    else:
        endpoint = FfmpegEndpoint(url, settings)
    return LiveSource(endpoint, settings, stop)
