"""URLs on edgecam's own command line, which every user of the machine may read while it runs."""

from __future__ import annotations

import re
from pathlib import Path

from edgecam.core.redaction import address

_STAT, _ARGUMENTS = Path("/proc/self/stat"), Path("/proc/self/cmdline")
_URL = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
# Fields of proc(5), counted from behind the name, the second: arg_start is the 48th.
_ARG_START = 48 - 3


def _hidden(argument: bytes) -> bytes:
    """``argument`` with a URL at its end as it may be shown, as long as before."""
    found = _URL.search(argument)
    if found is None or found[0].lower() == b"file://":
        return argument
    url = argument[found.start() :].decode("utf-8", "surrogateescape")
    safe = argument[: found.start()] + address(url).encode("utf-8", "surrogateescape")
    return safe[: len(argument)].ljust(len(argument))


def hide_urls() -> None:
    """Write scheme, host and port over each URL; nothing where the kernel does not tell where."""
    try:
        found = _ARGUMENTS.read_bytes()
        kept = b"\0".join(map(_hidden, found.split(b"\0")))
        if kept == found:
            return
        start = int(_STAT.read_text().rpartition(")")[2].split()[_ARG_START])
    except (OSError, ValueError, IndexError):
        return
    if not start:
        return
    import ctypes

    # What Python knows of its arguments is a copy.
    ctypes.memmove(start, kept, len(kept))
