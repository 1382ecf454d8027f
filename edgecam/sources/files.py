"""Recordings: a video file, a picture, a directory or a glob of pictures."""

from __future__ import annotations

import os
import stat

from edgecam.core.errors import SourceError
from edgecam.core.protocols import Source
from edgecam.settings.schema import SourceSettings
from edgecam.sources.file_format import Format, format_of
from edgecam.sources.kinds import STANDARD_INPUT, Opening
from edgecam.sources.local_path import SUFFIXES, is_pattern, path_of
from edgecam.sources.picture_limits import max_pixels


def open_recording(opening: Opening) -> Source:
    """Open what a path or a ``file:`` URL names, again and again with ``source.loop``.

    Raises:
        SourceError: it is not there or cannot be read.
        SettingsError: it is below a home directory that there is not.
    """
    path, settings = path_of(opening.settings.url), opening.settings
    if settings.loop and _is_pipe(path):
        raise SourceError(f"{path}: a pipe is read once; drop source.loop")
    if not settings.loop:
        return _open(path, settings)
    from edgecam.sources.loop import Loop

    return Loop(lambda: _open(path, settings))


def _open(path: str, settings: SourceSettings) -> Source:
    most, realtime = max_pixels(settings, live=False), settings.realtime
    if _is_pipe(path):
        from edgecam.sources.pipe import PipedVideo

        return PipedVideo(path, realtime=realtime, rate_hz=settings.rate_hz, max_pixels=most)
    if path in STANDARD_INPUT:
        # A shell's < FILE: what is a file may be looked into, and sought in.
        path = "/dev/stdin"
    if is_pattern(path) or os.path.isdir(path) or _format(path) == "picture":
        from edgecam.sources.images import Images

        return Images(path, rate_hz=settings.rate_hz, realtime=realtime, max_pixels=most)
    if _format(path) == "animation":
        from edgecam.sources.animation import Animation

        return Animation(path, realtime=realtime, max_pixels=most)
    from edgecam.sources.video import VideoFile

    return VideoFile(path, realtime=realtime, rate_hz=settings.rate_hz, max_pixels=most)


def _is_pipe(path: str) -> bool:
    """Whether what is there can be read once only: a FIFO, and standard input but for a file."""
    if path in STANDARD_INPUT:
        return not stat.S_ISREG(os.fstat(0).st_mode)
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _format(path: str) -> Format | None:
    """What the bytes say; where they say nothing, or cannot be read, what the name says."""
    try:
        found = format_of(path)
    except (OSError, SourceError):
        found = None
    if found is None and os.path.splitext(path)[1].lower() in SUFFIXES:
        return "picture"
    return found
