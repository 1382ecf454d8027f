"""Files from outside, read as far as a bound and refused beyond it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MODEL_BYTES = 1 << 30
# Cards, labels, settings, pins: what people write, and lists.
TEXT_BYTES = 4 << 20
_AT_LEAST_BYTES = 1 << 16


def read(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes, of a pipe or device too.

    Raises:
        OSError: it cannot be read; EFBIG: it holds more than ``max_bytes``, such as /dev/zero.
    """
    parts, left = [], max_bytes + 1
    with path.open("rb") as file:
        # No more at once than there is: a read takes the room that it is asked for beforehand.
        at_once = max(_AT_LEAST_BYTES, os.fstat(file.fileno()).st_size + 1)
        while left > 0 and (part := file.read(min(at_once, left))):
            parts.append(part)
            left -= len(part)
    if left <= 0:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)
