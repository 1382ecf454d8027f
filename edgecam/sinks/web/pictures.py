"""The JPEGs of the page: made when a viewer looks, ten a second for all viewers.

Viewers share them: each that looks between two pictures gets the one that is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edgecam.core.result import Result
from edgecam.sinks.web.viewer_message import Moment

INTERVAL_S = 0.1
# Frames come a little early or late; without it every other one would be missed.
JITTER_S = 0.01
# The interpreter goes first.
NICENESS = 10


def stand_back() -> None:
    """Let the interpreter's threads go before the one that calls this."""
    # Linux knows a niceness for each thread; elsewhere, and where it may not, it stays as it is.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Pictures:
    """``encode`` makes a JPEG of a result, on a thread of its own; used on the server's loop."""

    def __init__(self, encode: Callable[[Result], bytes]) -> None:
        self._encode = encode
        self._encoder = ThreadPoolExecutor(1, "web-jpeg", initializer=stand_back)
        self._last: tuple[Moment, asyncio.Future[bytes]] | None = None
        self.due_s = float("-inf")
        self.made = 0

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next picture."""
        return time.monotonic() >= self.due_s - JITTER_S

    @property
    def last(self) -> tuple[Moment, asyncio.Future[bytes]] | None:
        """The picture that was begun last, and what it shows."""
        return self._last

    def make(self, moment: Moment) -> tuple[Moment, asyncio.Future[bytes]]:
        """Begin a picture of this moment."""
        self.due_s = max(self.due_s + INTERVAL_S, time.monotonic())
        self.made += 1
        loop = asyncio.get_running_loop()
        self._last = moment, loop.run_in_executor(self._encoder, self._encode, moment.result)
        return self._last

    def close(self) -> None:
        """Stop the encoder."""
        self._encoder.shutdown(wait=False, cancel_futures=True)
