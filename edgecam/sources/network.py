"""Network streams: ``rtsp://`` through FFmpeg over TCP, ``http://`` as MJPEG or what it is."""

from __future__ import annotations

from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import FfmpegEndpoint
from edgecam.sources.kinds import Opening
from edgecam.sources.live import Endpoint, LiveSource
from edgecam.sources.mjpeg import HttpEndpoint


def open_network(opening: Opening) -> LiveSource:
    """Open a stream by its URL; raises SourceError where it cannot and need not wait."""
    settings = opening.settings
    url = urls.parse(settings.url)
    endpoint: Endpoint
    if url.scheme.startswith("http"):
        endpoint = HttpEndpoint(url, settings)
    else:
        endpoint = FfmpegEndpoint(url, settings)
    return LiveSource(endpoint, settings, opening.stop)
