"""How many frames of a recording are carried through a step at a time.

An invoke leaves nothing of what ran before it in the core's cache, and steps that find their own
code and data there again take half as long. So each step is done for a few frames in a row.
"""

from __future__ import annotations

from edgecam.types import Frame

# Nobody should wait long for a result, nor a board run out of memory.
MAX_FRAMES = 8
MAX_MS = 60.0
MAX_BYTES = 8_000_000


def frames_of_a_batch(frame: Frame, invoke_ms: float) -> int:
    """How many such frames make a batch, where one's invokes take so long."""
    limits = (MAX_MS / max(invoke_ms, 0.1), MAX_BYTES / frame.image.nbytes)
    return max(1, min(MAX_FRAMES, *map(int, limits)))
