"""The cameras of one process while they run: a session each, and turns at the models they share."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.heartbeats import AllHeartbeats
from edgecam.core.protocols import Sink
from edgecam.core.redaction import redact
from edgecam.daemon.build import Loaded, load_models
from edgecam.daemon.session import Session, Shared
from edgecam.inference.model import Model
from edgecam.messages.telemetry import Telemetry
from edgecam.settings.house import House
from edgecam.settings.schema import Settings
from edgecam.sinks import Opener
from edgecam.sources import is_file, serves_several

if TYPE_CHECKING:
    from edgecam.daemon.board_report import BoardReporter
    from edgecam.sinks.mqtt.link import Link
    from edgecam.sinks.web.sink import Site

log = logging.getLogger(__name__)

# What there is one of.
_ONE = attrgetter("name", "title", "mqtt", "homeassistant", "web", "telemetry", "thermal")

Refuse = Callable[[EdgecamError, str], None]


def load_all(house: House, loaded: Loaded | None = None) -> list[list[Model]]:
    """Load the models of every camera, each model once; what is in ``loaded`` is kept.

    Raises:
        EdgecamError: as ``load_models``; or a camera that shares the process is no single one, or
            is boosted by what none of its models finds.
    """
    loaded = {} if loaded is None else loaded
    if house.has_several:
        from edgecam.core import allocation

        for camera in house.cameras:
            _check_single(camera)
        # Before a model or a thread has taken memory.
        allocation.keep_little()
    models = [load_models(camera, loaded) for camera in house.cameras]
    for camera, own in zip(house.cameras, models, strict=True):
        if camera.boost_when:
            _check_boost(camera, own)
    return models


def _check_single(camera: Settings) -> None:
    if serves_several(camera.source):
        raise SettingsError(
            f"camera {camera.name}: source.url: expected one camera, found the pictures of "
            f"several, {redact(camera.source.url)}; give it one camera's topic, or a process of "
            "its own"
        )


def _check_boost(camera: Settings, models: Sequence[Model]) -> None:
    from edgecam.messages.label_names import label_key
    from edgecam.pipeline.boost import FALL
    from edgecam.settings.messages import nearest

    found = {label_key(label) for model in models for label in (*model.counted, *model.classes)}
    unknown = [label for label in camera.boost_when if label_key(label) not in {*found, FALL}]
    # A model without labels finds what it does not name.
    if unknown and found:
        raise SettingsError(
            f"camera {camera.name}: boost_when: expected {FALL} or what its models find, found "
            f"{unknown[0]!r:.80}{nearest(unknown[0], (*sorted(found), FALL))}"
        )


class Cameras:
    """Opens the sessions of a house, and takes a changed one's place.

    ``extra_sinks`` are the caller's and get the results of all.

    Raises:
        EdgecamError: a camera does not open; what did is closed again.
    """

    def __init__(
        self,
        house: House,
        models: Sequence[Sequence[Model]],
        stop: threading.Event,
        extra_sinks: Sequence[Sink] = (),
    ) -> None:
        self._stop, self._extra_sinks = stop, extra_sinks
        self.sessions: dict[str, Session] = {}
        self._shared: Shared | None = None
        self._link: Link | None = None
        self._site: Site | None = None
        self._board: BoardReporter | None = None
        self._open(house, models)

    @property
    def first(self) -> Session:
        """The session of the first camera, which is the only one where there is one."""
        return next(iter(self.sessions.values()))

    @property
    def has_several(self) -> bool:
        """Whether cameras share this process."""
        return self.house.has_several

    def _open(self, house: House, models: Sequence[Sequence[Model]], wait: bool = False) -> None:
        """``wait``: a camera that is away is no reason to end a run that goes on."""
        self.house = house
        self._models = dict(zip((c.name for c in house.cameras), models, strict=True))
        self._boot_id = uuid.uuid4().hex[:8]
        self._shared, self._link, self._board, self._site = None, None, None, None
        try:
            if house.has_several:
                self._share(house.shared)
            for camera in house.cameras:
                self.sessions[camera.name] = self._session(camera, wait)
        except BaseException:
            self.close()
            raise

    def _share(self, settings: Settings) -> None:
        """Open what there is one of: the turns, the connection to the broker, and the live page."""
        from edgecam.pipeline.turns import Turns

        sinks: dict[str, Opener] = {}
        if settings.mqtt.url is not None:
            # A run without a broker loads nothing of it.
            from edgecam.daemon.board_report import BoardReporter
            from edgecam.homeassistant.announce import announce_board
            from edgecam.sinks.mqtt.link import Link
            from edgecam.sinks.mqtt.sink import open_sink

            self._link = link = Link(settings.mqtt, settings.name, self._boot_id, self._names)
            board = open_sink(settings, self._boot_id, link)
            announce_board(board, settings)
            interval_s = settings.telemetry.interval_s
            self._board = BoardReporter(settings.name, self._boot_id, interval_s, board)
            sinks["mqtt"] = lambda camera, boot_id: open_sink(camera, boot_id, link)
        if settings.web.listen is not None:
            from edgecam.sinks.web.sink import Site
            from edgecam.sinks.web.sink import open_sink as open_page

            self._site = site = Site(settings.web)
            sinks["web"] = lambda camera, boot_id: open_page(camera, boot_id, site)
        self._shared = Shared(settings.name, Turns(), sinks)

    @property
    def _names(self) -> list[str]:
        return [camera.name for camera in self.house.cameras]

    def _session(self, camera: Settings, wait: bool = False) -> Session:
        settings = self._prepared(camera)
        if wait:
            source = msgspec.structs.replace(settings.source, wait=True)
            settings = msgspec.structs.replace(settings, source=source)
        models = self._models[camera.name]
        return Session(settings, models, self._stop, self._extra_sinks, shared=self._shared)

    def _prepared(self, camera: Settings) -> Settings:
        """The settings of one of several: it is waited for, and records into its own folder."""
        if not self.has_several:
            return camera
        recorder = camera.recorder
        if recorder.enabled:
            from edgecam.sinks.recorder.folder import place

            folder = place(recorder, self.house.shared.name, os.environ) / camera.name
            recorder = msgspec.structs.replace(recorder, directory=str(folder))
        # The others run without it.
        waits = camera.source.wait or not is_file(camera.source)
        source = msgspec.structs.replace(camera.source, wait=waits)
        return msgspec.structs.replace(camera, source=source, recorder=recorder)

    def report(self, now_s: float, reports: Mapping[str, Telemetry]) -> None:
        """Tell of the board, where several cameras share it; ``reports`` are theirs, by name."""
        if self._board is not None:
            self._board.publish(now_s, reports)

    def has_saved_places(self) -> bool:
        """Whether zones were saved on a page since this was last asked."""
        return any(session.has_saved_places() for session in self.sessions.values())

    def start(self) -> None:
        """Start every pipeline."""
        for session in self.sessions.values():
            session.pipeline.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of all; True once each has ended.

        Raises:
            Exception: whatever ended one of them.
        """
        running = [s for s in self.sessions.values() if not self._checked(s, 0.0)]
        return not running or (self._checked(running[0], timeout_s) and len(running) == 1)

    def check(self) -> None:
        """Raise what a stage of a camera raised."""
        for session in self.sessions.values():
            self._checked(session, 0.0)
            session.pipeline.check()

    def _checked(self, session: Session, timeout_s: float) -> bool:
        try:
            return session.pipeline.wait(timeout_s)
        except EdgecamError:
            if self.has_several:
                log.error("camera %s has ended the run", session.settings.name)
            raise

    @property
    def heartbeats(self) -> AllHeartbeats:
        """Signs of life of every stage."""
        beats = {name: session.pipeline.heartbeats for name, session in self.sessions.items()}
        return AllHeartbeats(beats if self.has_several else {"": self.first.pipeline.heartbeats})

    def reopen(self, house: House, models: Sequence[Sequence[Model]], refuse: Refuse) -> None:
        """Go on with other settings; a camera whose own have not changed runs on.

        ``refuse`` gets the reason, and what the new configuration does not do, where it or one of
        its cameras does not start; what ran before goes on.

        Raises:
            EdgecamError: neither the new nor the old opens; nothing is left open.
        """
        if house.has_several != self.has_several or _of_process(house) != _of_process(self.house):
            self._replace(house, models, refuse)
            return
        asked = {camera.name: camera for camera in self.house.cameras}
        before = self._models
        self.house = house
        self._models = dict(zip((c.name for c in house.cameras), models, strict=True))
        # All that stop first: another may get what one gives free.
        for name in [name for name in self.sessions if name not in self._models]:
            log.info("camera %s is removed", name)
            self.sessions.pop(name).close()
        for camera in house.cameras:
            self._renew(camera, asked.get(camera.name), before.get(camera.name, ()), refuse)

    def _renew(
        self, camera: Settings, before: Settings | None, models: Sequence[Model], refuse: Refuse
    ) -> None:
        name = camera.name
        if before is None or name not in self.sessions:
            log.info("camera %s is added", name)
            try:
                if self._link is not None:
                    self._link.join(name)
                self.sessions[name] = self._session(camera, wait=True)
            except EdgecamError as error:
                refuse(error, f"does not start camera {name}")
                return
        elif self.has_several and before == camera and _same(models, self._models[name]):
            return
        else:
            session, new = self.sessions.pop(name), self._prepared(camera)
            self.sessions[name] = session.reopened(new, self._models[name], refuse)
        self.sessions[name].pipeline.start()

    def _replace(self, house: House, models: Sequence[Sequence[Model]], refuse: Refuse) -> None:
        old, old_models = self.house, [self._models[camera.name] for camera in self.house.cameras]
        self.close()
        try:
            self._open(house, models, wait=True)
        except EdgecamError as error:
            refuse(error, "does not start")
            self._open(old, old_models, wait=True)
        self.start()

    def close(self) -> Mapping[str, Telemetry]:
        """Close every session; returns the last report of each, by name."""
        for session in self.sessions.values():
            # All at once: each may take a moment to end.
            session.pipeline.stop()
        last = {name: session.close() for name, session in self.sessions.items()}
        self.sessions.clear()
        if self._site is not None:
            self._site.close()
        if self._link is not None:
            self._link.close()
        return last


def _of_process(house: House) -> object:
    """What all cameras begin again with."""
    return _ONE(house.shared) if house.has_several else None


def _same(before: Sequence[Model], now: Sequence[Model]) -> bool:
    return len(before) == len(now) and all(
        a.shares_interpreter(b) for a, b in zip(before, now, strict=True)
    )
