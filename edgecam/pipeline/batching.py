"""How many frames of a recording are carried through a step at a time.

An invoke leaves nothing of what ran before it in the core's cache, and steps that find their own
code and data there again take half as long. So each step is done for a few frames in a row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from edgecam.core.result import Frame

# Nobody should wait long for a result, nor a board run out of memory.
MAX_FRAMES = 8
MAX_MS = 60.0
MAX_BYTES = 8_000_000

# A frame, and which models look at it.
Look = tuple[Frame, Sequence[bool]]


def frames_of_a_batch(invoke_ms: float) -> int:
    """How many frames make a batch, where one's invokes take so long."""
    return max(1, min(MAX_FRAMES, int(MAX_MS / max(invoke_ms, 0.1))))


def batch(looks: Iterator[Look], frames: int) -> list[Look]:
    """The next frames, so many at most; fewer where they come slowly or are large.

    Empty behind the last.
    """
    started_s, held_bytes = time.monotonic(), 0
    found = []
    for look in islice(looks, frames):
        found.append(look)
        # Pictures of a folder differ in size: the next one is taken to be like this one.
        one_bytes = look[0].image.nbytes
        held_bytes += one_bytes
        is_late = (time.monotonic() - started_s) * 1e3 >= MAX_MS
        if is_late or held_bytes + one_bytes > MAX_BYTES:
            break
    return found
