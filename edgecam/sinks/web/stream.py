"""What viewers get: the newest result, its picture where they want one, events and reports.

A viewer answers every bundle before it gets the next: one that is slow skips what it missed, and
nothing is ever kept for it. Who does not answer in time is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Raw

from edgecam.analysis.counts import counts
from edgecam.core.keypoints import PERSON, SKELETONS, SURE
from edgecam.messages.telemetry import Telemetry
from edgecam.sinks.web.history import Journal
from edgecam.sinks.web.pictures import Pictures
from edgecam.sinks.web.viewer_message import Moment

MAX_VIEWERS = 16
ANSWER_S = 5.0
# Pings find those whose machine is gone while there is nothing to send: 6 s, and 3 s to answer.
HEARTBEAT_S = 6.0
# Between two bundles; pictures have a pace of their own.
BUNDLE_INTERVAL_S = 0.05
MAX_MESSAGE_BYTES = 64
# More than bundles sent: a viewer says little else.
MAX_EXTRA_MESSAGES = 100

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True, eq=False)
class Viewer:
    """One open page, and what it has seen."""

    socket: web.WebSocketResponse
    events: int
    wants_pictures: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    moment: int = -1
    report: Raw | None = None
    scene: Raw | None = None
    due_s: float = 0.0
    extra_messages: int = 0


class Hub:
    """The viewers and the newest of everything; lives on the server's loop.

    ``pictures`` makes JPEGs; None: skeletons only. ``newest`` tells the last moment.
    """

    def __init__(
        self,
        hello: dict[str, object],
        pictures: Pictures | None,
        newest: Callable[[], Moment | None],
    ) -> None:
        shown = pictures is not None
        self._hello = {**hello, "pictures": shown, "sure": SURE}
        self._pictures, self._newest = pictures, newest
        self._viewers: set[Viewer] = set()
        self._scene: Raw | None = None
        self._labels = {PERSON}
        self.journal = Journal()
        # How many viewers have seen everything: no other has to be woken.
        self.waiting = 0
        self.evicted = self.skipped = 0

    def newest(self) -> Moment | None:
        """Return the last moment, None before the first."""
        return self._newest()

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return len(self._viewers)

    def wake(self) -> None:
        """There is something new."""
        for viewer in self._viewers:
            viewer.changed.set()

    def happened(self, event_type: str, payload: bytes) -> None:
        """Show an event as it is published."""
        self.journal.add_event(event_type, payload)
        self.wake()

    def report(self, telemetry: Telemetry, score_threshold: float) -> None:
        """Keep what the plots need and show the whole to viewers."""
        self.journal.add_report(telemetry, score_threshold)
        self.wake()

    def show(self, scene: bytes) -> None:
        """Draw these zones, masks and lines from now on."""
        self._scene = Raw(scene)
        self.wake()

    def counts(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """How many are in the picture, by label and by zone; those of before are 0."""
        newest = self._newest()
        now = {} if newest is None else counts(newest.result)
        self._labels |= now.keys()
        zones = {} if newest is None else newest.zone_counts
        return {label: now.get(label, 0) for label in sorted(self._labels)}, zones

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """Feed one viewer until it leaves or is cut off."""
        viewer = Viewer(socket, self.journal.number)
        self._viewers.add(viewer)
        feeding = asyncio.create_task(self._feed(viewer))
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

    async def _feed(self, viewer: Viewer) -> None:
        bones = {name: skeleton.bones for name, skeleton in SKELETONS.items()}
        kept = {"history": self.journal.history, "events": self.journal.events}
        hello = {**self._hello, **kept, "bones": bones}
        try:
            await asyncio.wait_for(self._send(viewer, {"hello": hello}), ANSWER_S)
            while True:
                await asyncio.sleep(viewer.due_s - time.monotonic())
                viewer.changed.clear()
                async with asyncio.timeout(ANSWER_S):
                    sent = await self._send_news(viewer)
                    if sent:
                        await viewer.answered.wait()
                if not sent:
                    await self._rest(viewer)
        except TimeoutError:
            self.evicted += 1

    async def _rest(self, viewer: Viewer) -> None:
        """Wait for something new."""
        self.waiting += 1
        try:
            newest = self._newest()
            # What came while none waited woke none.
            if newest is None or newest.number == viewer.moment:
                await viewer.changed.wait()
        finally:
            self.waiting -= 1

    async def _send_news(self, viewer: Viewer) -> bool:
        """Send what this viewer has not seen; False if there is nothing."""
        viewer.due_s = time.monotonic() + BUNDLE_INTERVAL_S
        body: dict[str, Any] = {}
        moment, picture = await self._next_moment(viewer)
        if moment is not None and moment.number != viewer.moment:
            self.skipped += moment.number - viewer.moment - 1 if viewer.moment >= 0 else 0
            viewer.moment = moment.number
            body = {"picture": picture is not None, **moment.parts}
        if self.journal.report is not None and self.journal.report is not viewer.report:
            viewer.report = body["report"] = self.journal.report
        if self._scene is not None and self._scene is not viewer.scene:
            viewer.scene = body["scene"] = self._scene
        if viewer.events != self.journal.number:
            body["events"] = self.journal.since(viewer.events)
            viewer.events = self.journal.number
        if not body:
            return False
        viewer.answered.clear()
        if body.get("picture") and picture is not None:
            await viewer.socket.send_bytes(picture)
        await self._send(viewer, body)
        return True

    @staticmethod
    async def _send(viewer: Viewer, body: dict[str, Any]) -> None:
        await viewer.socket.send_str(_encode(body).decode())

    async def _next_moment(self, viewer: Viewer) -> tuple[Moment | None, bytes | None]:
        """The newest moment; with its picture, if one is wanted, the newest that has one."""
        newest = self._newest()
        if newest is None or self._pictures is None or not viewer.wants_pictures:
            return newest, None
        if newest.number == viewer.moment:
            return newest, None
        last = self._pictures.last
        if last is None or self._pictures.is_due:
            last = self._pictures.make(newest)
        moment, making = last
        if moment.number <= viewer.moment:
            viewer.due_s = self._pictures.due_s
            return None, None
        return moment, await asyncio.shield(making)

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
        """Stop making pictures."""
        if self._pictures is not None:
            self._pictures.close()
