"""``POST /api/detect``: what the models see in a picture that another program sends.

Off unless ``web.controls`` lists ``detect``. A picture is bounded in bytes before it is read and in
pixels before it is decoded; one is looked at at a time, and so many a second as the settings say.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import StreamReader, web

from edgecam.core.errors import EdgecamError, SourceError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.sinks.web.pictures import stand_back
from edgecam.sinks.web.rate_limits import Connections
from edgecam.sources.picture import decode_image

PATH = "/api/detect"
CONTROL = "detect"
MAX_BYTES = 8_388_608
# A page of another site can send none of these without being asked first.
TYPES = ("image/", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Eye:
    """A camera's models: ``look`` writes what is in a picture of at most so many pixels."""

    look: Callable[[Image], bytes]
    most_pixels: int


class Detect:
    """Takes pictures, ``rate_hz`` of them a second for all cameras of a board."""

    def __init__(self, rate_hz: float) -> None:
        self._interval_s = 1.0 / rate_hz
        self._next_s = float("-inf")
        self._is_busy = False
        self._thread = ThreadPoolExecutor(1, "web-detect", initializer=stand_back)

    async def answer(
        self, request: web.Request, eye: Eye, connections: Connections
    ) -> web.Response:
        """The answer to one request, which was let in."""
        length = request.content_length
        refusal = self._refusal(request, length)
        if refusal is not None or length is None:
            assert refusal is not None
            # The picture is not read: the connection is of no more use.
            refusal.force_close()
            return refusal
        self._is_busy = True
        try:
            with connections.admitted(request.transport, length):
                data = await _read(request.content, length)
            if data is None:
                raise web.HTTPBadRequest(reason="the picture breaks off")
            # It takes what it takes: the connection has no deadline meanwhile.
            connections.is_viewer(request.transport)
            loop = asyncio.get_running_loop()
            self._next_s = time.monotonic() + self._interval_s
            body = await loop.run_in_executor(self._thread, _find, data, eye)
            answer = web.Response(body=body, content_type="application/json")
        except SourceError as error:
            status = 413 if error.kind == "too_large" else 400
            answer = web.Response(status=status, text=f"the picture: {error}\n")
        except EdgecamError as error:
            answer = web.Response(status=503, text=f"{error}\n")
        finally:
            self._is_busy = False
        answer.force_close()
        return answer

    def _refusal(self, request: web.Request, length: int | None) -> web.Response | None:
        if not request.content_type.startswith(TYPES):
            why = "expected a picture as it is, with Content-Type image/jpeg or the like"
            return web.Response(status=415, text=f"{why}, found {request.content_type:.80}\n")
        if length is None:
            return web.Response(status=411, text="expected a Content-Length, found none\n")
        if length > MAX_BYTES:
            why = f"expected {MAX_BYTES} bytes or less, found {length}; make the picture smaller"
            return web.Response(status=413, text=f"{why}\n")
        wait_s = self._next_s - time.monotonic()
        if not self._is_busy and wait_s <= 0:
            return None
        again = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        why = f"one picture each {self._interval_s:g} s is looked at; see web.detect_rate_hz"
        return web.Response(status=429, text=f"{why}\n", headers=again)

    def close(self) -> None:
        """Look at no more pictures."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _find(data: bytes, eye: Eye) -> bytes:
    try:
        return eye.look(decode_image(data, eye.most_pixels))
    except (MemoryError, cv2.error) as error:
        raise SourceError(f"cannot be decoded here: {error!r:.80}") from None


async def _read(stream: StreamReader, length: int) -> bytes | None:
    """So many bytes; None where there are not as many."""
    try:
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
