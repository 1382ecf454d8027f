"""Path of a recording, as a path or as a ``file:`` URL."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from edgecam.core.errors import SourceError
from edgecam.core.places import expanded
from edgecam.core.redaction import shown
from edgecam.inference.catalog import clip

DEMO = "demo"


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
    if shown(url) != url and not os.path.exists(url):
        raise SourceError(
            f"{shown(url)}: no such file, and no URL; expected rtsp://USER:PASSWORD@HOST/PATH or "
            "http://HOST/PATH for a camera"
        )
