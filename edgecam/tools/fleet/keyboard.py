"""Single keys of a terminal, as they are pressed."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

# Without the escape that begins them: what xterm and its like send, in either cursor mode.
_SEQUENCES = {
    b"[A": "up", b"OA": "up", b"[B": "down", b"OB": "down",
    b"[5~": "page up", b"[6~": "page down",
    b"[H": "home", b"OH": "home", b"[1~": "home", b"[F": "end", b"OF": "end", b"[4~": "end",
}  # fmt: skip
_SEQUENCE_S = 0.05


@contextmanager
def single_keys() -> Iterator[None]:
    """Keys arrive at once, unshown; Ctrl-C still interrupts. The terminal is put back behind it."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def key(timeout_s: float) -> str | None:
    """The next key by its character or name, None after ``timeout_s`` or where it is none of ours.

    The end of standard input is ``q``: no person is there any more.
    """
    fd = sys.stdin.fileno()
    data = _read(fd, timeout_s)
    if data is None:
        return None
    if data == b"":
        return "q"
    if data != b"\x1b":
        return data.decode("ascii", "replace").lower()
    sequence = b""
    until_s = time.monotonic() + _SEQUENCE_S
    while len(sequence) < 4 and sequence not in _SEQUENCES:
        more = _read(fd, max(0.0, until_s - time.monotonic()))
        if not more:
            return None
        sequence += more
    return _SEQUENCES.get(sequence)


def _read(fd: int, timeout_s: float) -> bytes | None:
    ready, _, _ = select.select([fd], [], [], timeout_s)
    return os.read(fd, 1) if ready else None
