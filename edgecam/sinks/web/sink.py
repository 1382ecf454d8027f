"""The live page as a sink: results in, a server on a thread and a loop of its own.

Publishing stores the newest result and no more. JSON and JPEG are made when a viewer watches, on
the server's threads.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from edgecam.core.board import clock_synced
from edgecam.core.errors import PageError, SettingsError
from edgecam.core.events import Event
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.result import Result
from edgecam.messages.event import event_payload
from edgecam.messages.result import result_line
from edgecam.messages.telemetry import Telemetry
from edgecam.settings.access import WebSettings
from edgecam.settings.scene import PLACES
from edgecam.settings.schema import Settings
from edgecam.settings.section import Section
from edgecam.sinks.render.last_found import LastFound
from edgecam.sinks.render.snapshot import jpeg, picture, shown_size
from edgecam.sinks.web.listen_address import Entrance

try:
    import aiohttp  # noqa: F401 - said in one line here rather than deep in the room
except ImportError:
    raise PageError(
        "--web needs aiohttp, which is not installed; run: pip install 'edgecam[web]'"
    ) from None

from edgecam.sinks.web import detect
from edgecam.sinks.web.detect import Detect, Eye
from edgecam.sinks.web.pictures import Pictures
from edgecam.sinks.web.server import Server
from edgecam.sinks.web.stream import Hub
from edgecam.sinks.web.viewer_message import Moment
from edgecam.sinks.web.zones import keep_none
from edgecam.sources.picture_limits import max_pixels

if TYPE_CHECKING:
    from edgecam.settings.saved_places import SavedPlaces

REPORT_INTERVAL_S = 2.0
CLOSE_S = 2.0

log = logging.getLogger(__name__)


def _given(section: Section) -> dict[str, Any]:
    """The keys that differ from their default: what a person would write into the file."""
    return {
        field.name: value
        for field in msgspec.structs.fields(section)
        if (value := getattr(section, field.name)) != field.default
    }


def check(settings: Settings) -> None:
    """
    Raises:
        PageError: no page can be served with these settings.
    """
    Entrance.of(settings.web)


def open_sink(settings: Settings, boot_id: str, site: Site | None = None) -> Page:
    """Open the page, or a camera's part of one that there is; raises PageError."""
    if site is None:
        return open_page(settings.web, settings.name, boot_id)
    return Page(settings.web, settings.name, boot_id, site)


def open_page(settings: WebSettings, name: str, boot_id: str) -> Page:
    """
    Raises:
        PageError: the address or the token will not do, or nothing can listen there.
    """
    return Page(settings, name, boot_id, Site(settings), owns_site=True)


class Site:
    """A server of pages on a thread of its own: of one camera, or of those of a process.

    Raises:
        PageError: the address or the token will not do, or nothing can listen there.
    """

    def __init__(self, settings: WebSettings) -> None:
        entrance = Entrance.of(settings)
        if entrance.warning is not None:
            log.warning("%s", entrance.warning)
        listener = entrance.listen()
        guard = entrance.guard(listener.getsockname()[1])
        allowed = detect.CONTROL in settings.controls
        self.server = Server(guard, Detect(settings.detect_rate_hz) if allowed else None)
        # Why the server has ended.
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._serve, args=(listener,), name="web", daemon=True
        )
        self._thread.start()
        asks = "" if entrance.token is None else " (asks for the token)"
        log.info("live page on %s%s", guard.address.url, asks)

    def _serve(self, listener: socket.socket) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self.server.run(listener, self._stop))
        except BaseException as error:  # noqa: BLE001 - handed to the publishing thread
            self.error = error
        finally:
            self._loop.close()

    def call(self, what: Callable[..., None], *arguments: Any) -> None:
        """Have something done on the server's thread, unless it has ended."""
        if self.error is None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *arguments)

    def close(self) -> None:
        """Stop the server and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_S)


class Page:
    """Shows a camera's newest result to browsers, on ``site``; ``owns_site``: it ends with this."""

    def __init__(
        self, settings: WebSettings, name: str, boot_id: str, site: Site, owns_site: bool = False
    ) -> None:
        self._settings, self._name, self._boot_id = settings, name, boot_id
        self._site, self._owns_site = site, owns_site
        self._newest: Moment | None = None
        self._last_found = LastFound()
        self._results = self._events = 0
        self._change: Callable[[str, str], None] | None = None
        self._saved: SavedPlaces | None = None
        self._eye: Eye | None = None
        self._has_saved = False
        self._next_s = 0.0
        hello: dict[str, object] = {"name": name, "controls": settings.controls}
        self._pictures = Pictures(self._jpeg) if settings.pictures else None
        self._hub = Hub(hello, self._pictures, lambda: self._newest)
        annotated = Pictures(self._annotated) if settings.pictures else None
        pictures = self._pictures, annotated
        site.server.add(name, self._hub, self._control, self._save, lambda: self._eye, pictures)

    def attach(
        self,
        change: Callable[[str, str], None],
        camera: Settings,
        saved: SavedPlaces | None = None,
        look: Callable[[Image], Result] | None = None,
    ) -> None:
        """``change`` carries out the page's commands, or raises ``SettingsError``.

        ``camera`` has the places to draw, ``saved`` keeps others, and ``look`` says what is in a
        picture; None where the settings do not allow it.
        """
        self._change, self._saved = change, saved
        self._eye = None if look is None else self._looking(look, camera)
        scene: dict[str, Any] = {kind: list(map(_given, getattr(camera, kind))) for kind in PLACES}
        if self._saved is not None:
            scene["saved"] = {"own": self._saved.are_there, "undo": self._saved.can_undo}
        self._site.call(self._hub.show, msgspec.json.encode(scene))

    def _looking(self, look: Callable[[Image], Result], camera: Settings) -> Eye:
        def written(image: Image) -> bytes:
            return result_line(look(image), self._name, self._boot_id, time.monotonic())

        return Eye(written, max_pixels(camera.source, live=True))

    def _save(self, text: bytes | None) -> None:
        """Keep places, or undo the last save; on a thread of the server's."""
        if self._saved is None:
            keep_none(text)
        elif text is None:
            self._saved.undo()
        else:
            self._saved.save(text)
        self._has_saved = True

    def has_saved_places(self) -> bool:
        """Whether places were saved since this was last asked."""
        found, self._has_saved = self._has_saved, False
        return found

    def publish(self, result: Result) -> None:
        """
        Raises:
            Exception: whatever ended the server.
        """
        if self._site.error is not None:
            raise self._site.error
        published_s, name, boot_id = time.monotonic(), self._name, self._boot_id
        result = self._last_found(result)
        self._results += 1
        self._newest = Moment(
            self._results, result, lambda: result_line(result, name, boot_id, published_s)
        )
        if result.insight is not None and result.insight.events:
            self._publish_events(result.insight.events)
        elif self._hub.waiting:
            self._site.call(self._hub.wake)

    def _publish_events(self, events: Sequence[Event]) -> None:
        for event in events:
            number, synced = self._events, clock_synced()
            payload = event_payload(event, self._name, self._boot_id, number, synced)
            self._events += 1
            self._site.call(self._hub.happened, event.event_type, payload)

    def due(self, now_s: float) -> bool:
        """Whether the page wants a report: now and then, and at once after a command."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + REPORT_INTERVAL_S
        return True

    def report(self, telemetry: Telemetry, score_threshold: float) -> None:
        """Hand telemetry to the viewers."""
        self._site.call(self._hub.report, telemetry, score_threshold)

    def _control(self, control: str, value: str) -> None:
        """Carry out a command of the page, on the server's thread."""
        if control not in self._settings.controls or self._change is None:
            raise SettingsError(f"{control[:64]!r} may not be set; web.controls lists what may")
        self._change(control, value)
        self._next_s = 0.0

    def _jpeg(self, result: Result) -> bytes:
        frame, settings = result.frame, self._settings
        size = shown_size(frame.width_px, frame.height_px, settings.width_px)
        image = frame.image
        if size != (frame.width_px, frame.height_px):
            # Averaging takes three times as long, and below a half it is all that looks right.
            is_slight = 2 * size[0] > frame.width_px
            how = cv2.INTER_LINEAR if is_slight else cv2.INTER_AREA
            image = cv2.resize(image, size, interpolation=how)
        return jpeg(image, settings.quality)

    def _annotated(self, result: Result) -> bytes:
        return jpeg(picture(result, "image", self._settings.width_px), self._settings.quality)

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``."""
        self._boot_id = boot_id

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {
            "web_viewers": self._hub.viewers,
            "web_jpegs": 0 if self._pictures is None else self._pictures.made,
            "web_skipped": self._hub.skipped,
            "web_evicted": self._site.server.evicted,
            "web_refused": self._site.server.refused,
        }

    def close(self) -> None:
        """Take the camera off its page, and end a page that has no other."""
        self._site.call(self._site.server.remove, self._name)
        if self._owns_site:
            self._site.close()
