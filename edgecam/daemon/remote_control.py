"""Commands from the network: ``set/<setting>`` in, ``state/<setting>`` out.

Only what the configuration allows, only thresholds and ``pause`` (no path, no URL), each checked
as in the configuration. A retained command would come again at every connection, long after
its sender has forgotten it: it is ignored.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from edgecam.core.errors import SettingsError
from edgecam.core.fault_log import FaultLog
from edgecam.daemon.live_settings import LiveSettings
from edgecam.messages.label_names import slug
from edgecam.messages.topics import Topics
from edgecam.settings.load import parse
from edgecam.settings.schema import Settings

PAUSE = "pause"
SNAPSHOT = "snapshot"
MAX_PAYLOAD_BYTES = 64

log = logging.getLogger(__name__)


class CommandBroker(Protocol):
    """The MQTT sink, as far as commands go."""

    def subscribe(self, topic_filter: str, callback: Callable[[str, bytes, bool], None]) -> None:
        """Call back for each message: topic, payload, and whether it was retained."""
        ...

    def keep_only(self, topic_filter: str, wanted: Iterable[str]) -> None:
        """Clear the retained topics of a filter but those that are wanted."""
        ...

    def publish_state(self, setting: str, payload: bytes) -> None:
        """Publish a setting's value, retained."""
        ...


class RemoteControl(LiveSettings):
    """What may change while it runs, as it is now; by MQTT where there is a broker.

    ``take_snapshot`` asks for a picture, None where there are none.
    """

    def __init__(
        self,
        settings: Settings,
        broker: CommandBroker | None,
        take_snapshot: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(settings)
        self._take_snapshot = take_snapshot
        self._broker = broker
        self._faults = FaultLog(log)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closed = False
        topics = Topics(settings.name)
        self._prefix = topics.set("+").removesuffix("+")
        # The topic of decode.max_poses ends in decode_max_poses.
        self._settings = {slug(key): key for key in settings.remote.allow}
        if broker is None:
            return
        # What an earlier run was allowed is retained still.
        broker.keep_only(f"{topics.base}/state/+", map(topics.state, settings.remote.allow))
        if self._settings:
            for key in settings.remote.allow:
                self._tell(key)
            broker.subscribe(f"{self._prefix}+", self._receive)

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {f"remote_{name}": number for name, number in sorted(self._counts.items())}

    def close(self) -> None:
        """Ignore what comes from now on."""
        self._closed = True

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        """On the network thread, which must outlive whatever comes."""
        if self._closed:
            return
        if retained:
            self._counts["retained_ignored"] += 1
            return
        name = topic.removeprefix(self._prefix)
        key = self._settings.get(name)
        try:
            if key is None:
                raise SettingsError(f"{name[:64]!r} may not be set; remote.allow lists what may")
            value = self._checked(key, payload)
        except SettingsError as error:
            self._counts["refused"] += 1
            self._faults.fault("refused", f"command refused: {error}")
            return
        self._counts["accepted"] += 1
        self._set(key, value, "over MQTT")

    def change(self, key: str, text: str) -> None:
        """Set what the live page may set; whether it may, the page knows.

        Raises:
            SettingsError: ``text`` is no value of the setting ``key``.
        """
        self._set(key, self._checked(key, text.encode()), "on the live page")

    def _checked(self, key: str, payload: bytes) -> Any:
        if key == SNAPSHOT and self._take_snapshot is None:
            raise SettingsError("snapshot: expected snapshot.mode to be set, found off")
        return self._value(key, payload)

    @staticmethod
    def _value(key: str, payload: bytes) -> Any:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise SettingsError(f"{key}: expected one value, found {len(payload)} bytes")
        try:
            text = payload.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise SettingsError(f"{key}: expected text, found {payload!r}") from None
        if key == SNAPSHOT:
            return text
        if key == PAUSE:
            # Home Assistant's switches say ON and OFF.
            words = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
            if text.lower() not in words:
                raise SettingsError(f"{PAUSE}: expected ON or OFF, found {text!r}")
            return words[text.lower()]
        return parse(key, text, "MQTT")

    def _set(self, key: str, value: Any, how: str) -> None:
        if key == SNAPSHOT:
            if self._take_snapshot is not None:
                self._take_snapshot()
            return
        with self._lock:
            if key == PAUSE:
                self.paused = value
            else:
                leaf = key.removeprefix("decode.")
                self._decode = msgspec.structs.replace(self._decode, **{leaf: value})
                self._options = self._decode.options()
        log.info("%s set to %s %s", key, value, how)
        if key in self._settings.values():
            self._tell(key)

    def _tell(self, key: str) -> None:
        if self._broker is None or key == SNAPSHOT:
            return
        if key == PAUSE:
            payload = b"ON" if self.paused else b"OFF"
        else:
            payload = msgspec.json.encode(getattr(self._decode, key.removeprefix("decode.")))
        self._broker.publish_state(key, payload)
