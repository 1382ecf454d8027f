"""Streams of bare bytes that FFmpeg takes apart: ``tcp://``, ``udp://`` and ``rtmp://``.

Who connects is the viewer: ``rpicam-vid --listen`` serves one and ends. So nothing asks before, and
FFmpeg opens the stream once. It may use no other protocol than the one that is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from edgecam.core.errors import SourceError
from edgecam.core.redaction import address
from edgecam.settings.schema import SourceSettings
from edgecam.sources.ffmpeg import FfmpegCapture, live_parameters
from edgecam.sources.ffmpeg_opening import SOON, open_capture
from edgecam.sources.kinds import Opening
from edgecam.sources.live import LiveSource
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.stream_size import check_capture
from edgecam.sources.supervised import StreamError

# Scheme -> what FFmpeg may open.
PROTOCOLS = {"tcp": "tcp", "udp": "udp,rtp", "rtmp": "rtmp,tcp"}


def check(url: str) -> None:
    """
    Raises:
        SourceError: it names no port (of RTMP: no host).
    """
    try:
        parts = urlsplit(url)
        scheme, named = parts.scheme.lower(), parts.hostname
        is_whole = bool(named) if scheme == "rtmp" else parts.port is not None
    except ValueError:
        is_whole = False
    if not is_whole or any(character.isspace() for character in url):
        raise SourceError(
            f"{address(url)}: not a URL; expected tcp://HOST:PORT, udp://HOST:PORT or "
            "rtmp://HOST/APP/NAME"
        )


class ByteStreamEndpoint:
    """A stream that is opened by its URL, and asked nothing before."""

    formats = None

    def __init__(self, url: str, settings: SourceSettings) -> None:
        self.description = address(url)
        self._url, self._settings = url, settings
        self._protocols = PROTOCOLS[urlsplit(url).scheme.lower()]

    def probe(self) -> None:
        """Nothing: a connection would take the place of the viewer."""

    def recheck(self) -> None:
        """Nothing, as ``probe``: the next attempt tells."""

    def open(self, count: Callable[[str], None]) -> FfmpegCapture:
        """Open the stream; raises StreamError."""
        del count  # FFmpeg does not say what it throws away
        began_s = time.monotonic()
        most = max_pixels(self._settings, live=True)
        capture = open_capture(
            self._url, live_parameters(self._settings), most, SOON, self._protocols
        )
        if not capture.isOpened():
            if time.monotonic() - began_s >= self._settings.open_timeout_s:
                limit_s = self._settings.open_timeout_s
                raise StreamError("silent", f"no stream within {limit_s:g} s")
            raise StreamError("refused", "nothing answers there, or no stream that FFmpeg knows")
        check_capture(capture, most)
        return FfmpegCapture(capture, self._settings.read_timeout_s, most)


def open_byte_stream(opening: Opening) -> LiveSource:
    """Open a stream by its URL; raises SourceError where it cannot and need not wait."""
    endpoint = ByteStreamEndpoint(opening.settings.url, opening.settings)
    return LiveSource(endpoint, opening.settings, opening.stop)
