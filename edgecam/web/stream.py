"""What viewers get: the newest result, its picture where they want one, and reports.

A viewer answers every bundle before it gets the next: one that is slow skips what it missed, and
nothing is ever kept for it. Who does not answer in time is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
from aiohttp import WSMsgType, web

from edgecam.keypoints import BONES, NAMES
from edgecam.types import Result
from edgecam.wire import Telemetry

MAX_VIEWERS = 16
ANSWER_S = 5.0
# Pings find those whose machine is gone while there is nothing to send: 6 s, and 3 s to answer.
HEARTBEAT_S = 6.0
PICTURE_INTERVAL_S = 0.08
MAX_MESSAGE_BYTES = 64
# More than bundles sent: a viewer says little else.
MAX_EXTRA_MESSAGES = 100
HISTORY_S = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One result as it was published, and how to write it down."""

    result: Result
    line: Callable[[], bytes]


@dataclass(slots=True, eq=False)
class Viewer:
    """One open page."""

    socket: web.WebSocketResponse
    wants_pictures: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    moment: Moment | None = None
    report: bytes | None = None
    picture_s: float = float("-inf")
    extra_messages: int = 0


class Hub:
    """The viewers and the newest of everything; lives on the server's loop.

    ``encode`` makes a JPEG of a result, on a thread of its own; None: skeletons only. ``newest``
    tells the last moment.
    """

    def __init__(
        self,
        hello: dict[str, object],
        encode: Callable[[Result], bytes] | None,
        newest: Callable[[], Moment | None],
    ) -> None:
        pictures = encode is not None
        self._hello = {**hello, "pictures": pictures, "keypoints": NAMES, "bones": BONES}
        self._encode, self._newest = encode, newest
        self._encoder = ThreadPoolExecutor(1, "web-jpeg")
        self._pictured: tuple[Moment, asyncio.Future[bytes]] | None = None
        self._viewers: set[Viewer] = set()
        self._report: bytes | None = None
        self._history: deque[tuple[float | None, ...]] = deque()
        self.jpegs = self.evicted = self.skipped = 0

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def wake(self) -> None:
        """There is something new."""
        for viewer in self._viewers:
            if viewer.changed.is_set():
                self.skipped += 1
            viewer.changed.set()

    def report(self, telemetry: Telemetry, score_threshold: float) -> None:
        """Keep what the plots need and show the whole to whoever watches."""
        latency = telemetry.capture_to_publish_ms
        point = (
            telemetry.time_unix_s,
            telemetry.fps.published,
            None if latency is None else latency.p50,
            telemetry.temperature_c,
        )
        self._history.append(point)
        while (self._history[0][0] or 0.0) < telemetry.time_unix_s - HISTORY_S:
            self._history.popleft()
        body = {"telemetry": telemetry, "point": point, "score_threshold": score_threshold}
        self._report = msgspec.json.encode(body)
        self.wake()

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """Feed one viewer until it leaves or is cut off."""
        viewer = Viewer(socket)
        hello = {**self._hello, "history": list(self._history)}
        viewer.changed.set()
        self._viewers.add(viewer)
        feeding = asyncio.create_task(self._feed(viewer, msgspec.json.encode({"hello": hello})))
        listening = asyncio.create_task(self._listen(viewer))
        try:
            done, _ = await asyncio.wait((feeding, listening), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionError:
            return
        finally:
            self._viewers.discard(viewer)
            for task in (feeding, listening):
                task.cancel()
            await asyncio.gather(feeding, listening, return_exceptions=True)

    async def _feed(self, viewer: Viewer, hello: bytes) -> None:
        try:
            await asyncio.wait_for(viewer.socket.send_str(hello.decode()), ANSWER_S)
            while True:
                await viewer.changed.wait()
                viewer.changed.clear()
                async with asyncio.timeout(ANSWER_S):
                    viewer.answered.clear()
                    if await self._send(viewer):
                        await viewer.answered.wait()
        except TimeoutError:
            self.evicted += 1

    async def _send(self, viewer: Viewer) -> bool:
        """Send what this viewer has not seen; False if there is nothing."""
        parts: list[bytes] = []
        moment = self._newest()
        if moment is not None and moment is not viewer.moment:
            viewer.moment = moment
            picture = await self._picture(viewer, moment)
            if picture is not None:
                await viewer.socket.send_bytes(picture)
            shown = b"true" if picture is not None else b"false"
            parts += [b'"picture":', shown, b',"result":', moment.line(), b","]
        if self._report is not None and self._report is not viewer.report:
            viewer.report = self._report
            parts += [b'"report":', self._report, b","]
        if not parts:
            return False
        await viewer.socket.send_str((b"{" + b"".join(parts)[:-1] + b"}").decode())
        return True

    async def _picture(self, viewer: Viewer, moment: Moment) -> bytes | None:
        """The moment's JPEG, made once however many want it; None between two pictures."""
        now_s = time.monotonic()
        if self._encode is None or not viewer.wants_pictures:
            return None
        if now_s - viewer.picture_s < PICTURE_INTERVAL_S:
            return None
        viewer.picture_s = now_s
        if self._pictured is None or self._pictured[0] is not moment:
            loop = asyncio.get_running_loop()
            self.jpegs += 1
            making = loop.run_in_executor(self._encoder, self._encode, moment.result)
            self._pictured = (moment, making)
        return await asyncio.shield(self._pictured[1])

    async def _listen(self, viewer: Viewer) -> None:
        async for message in viewer.socket:
            if message.type is not WSMsgType.TEXT:
                return
            if message.data == "next" and not viewer.answered.is_set():
                viewer.answered.set()
                continue
            viewer.extra_messages += 1
            if viewer.extra_messages > MAX_EXTRA_MESSAGES:
                return
            if message.data in ("pictures on", "pictures off"):
                viewer.wants_pictures = message.data == "pictures on"

    def close(self) -> None:
        self._encoder.shutdown(wait=False, cancel_futures=True)
