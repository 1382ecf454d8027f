"""Standard error while native code runs that writes to it on its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_INFO = b"INFO: "


@contextmanager
def without_info() -> Iterator[None]:
    """Drop the lines that begin with ``INFO:``; all others come when the block ends."""
    try:
        sys.stderr.flush()
        real, kept = os.dup(2), os.memfd_create("stderr")
    except (OSError, ValueError):
        # No room for two more files, or no standard error.
        yield
        return
    try:
        os.dup2(kept, 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            size = os.lseek(kept, 0, os.SEEK_END)
            lines = os.pread(kept, size, 0).splitlines(keepends=True)
            rest = b"".join(line for line in lines if not line.startswith(_INFO))
            if rest:
                os.write(2, rest)
    finally:
        os.close(kept)
        os.close(real)
