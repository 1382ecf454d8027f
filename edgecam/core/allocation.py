"""How the C library gives memory out, where several cameras would each have a pool of it."""

from __future__ import annotations

import ctypes

# glibc's malloc.h. Other libraries have no such function, or ignore these numbers.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# A plane of a decoded picture is larger, what a decoder of results works with smaller.
MAPPED_BYTES = 64 * 1024
KEPT_BYTES = 1024 * 1024


def keep_little() -> None:
    """Have freed pictures go back to the system, and all threads share one pool.

    By itself glibc gives threads a pool each, and keeps in them what the largest picture took:
    with four cameras that is as much memory again as all of their pictures need.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
