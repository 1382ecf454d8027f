"""Path of a recording: a path, a ``file:`` URL or a glob, and the names that pictures have."""

from __future__ import annotations

import glob
import os
import re
from urllib.parse import unquote, urlsplit

from edgecam.core.errors import SourceError
from edgecam.core.places import expanded
from edgecam.core.redaction import shown
from edgecam.inference.catalog import clip

DEMO = "demo"
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm"}
    | {".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif", ".avif"}
)
# An address without what is spoken there.
_HOST = re.compile(
    r"((?:\d{1,3}(?:\.\d{1,3}){3}|[\w-]+\.(?:local|lan|home|fritz\.box))(?::\d+)?)(/\S*)?$"
)


def path_of(url: str) -> str:
    """Return the path that ``url`` names, with the home directory in place of ``~``.

    ``demo`` is the bundled clip, where no file is called so.

    Raises:
        ModelError: the installation lacks the bundled clip.
        SettingsError: it is below a home directory that there is not.
    """
    if url == DEMO and not os.path.exists(url):
        return str(clip())
    if url.lower().startswith("file://"):
        return unquote(urlsplit(url).path)
    return expanded(url, "source.url")


def check_path(url: str) -> None:
    """
    Raises:
        SourceError: it looks like a URL, and is neither that nor a file that is there.
    """
    match = _HOST.match(url)
    if match is not None and not os.path.exists(url):
        path = match[2] or "/PATH"
        raise SourceError(
            f"{url}: no such file; of a network camera write the whole address: "
            f"rtsp://{match[1]}{path} or http://{match[1]}{path}"
        )
    if shown(url) != url and not os.path.exists(url):
        raise SourceError(
            f"{shown(url)}: no such file, and no URL; expected rtsp://USER:PASSWORD@HOST/PATH or "
            "http://HOST/PATH for a camera"
        )


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a glob, unless a file of that very name exists."""
    return glob.has_magic(text) and not os.path.exists(text)
