"""Files from outside, read as far as a bound and refused beyond it."""

from __future__ import annotations

import errno
from pathlib import Path

MODEL_BYTES = 1 << 30
# Cards, labels, settings, pins: what people write, and lists.
TEXT_BYTES = 4 << 20


def read(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes, of a pipe or device too.

    Raises:
        OSError: it cannot be read; EFBIG: it holds more than ``max_bytes``, such as /dev/zero.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes")
    return data
