"""Path of a recording, as a path or as a ``file:`` URL."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from edgecam.core.errors import SourceError
from edgecam.core.places import expanded
from edgecam.core.redaction import shown


def path_of(url: str) -> str:
    """Return the path that ``url`` names, with the home directory in place of ``~``.

    Raises:
        SettingsError: it is below a home directory that there is not.
    """
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
