"""What a broker does not take: said once in the log, until it takes it, and in every telemetry."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from edgecam.messages.telemetry import MqttRefusal

log = logging.getLogger(__name__)

# Of each kind of topic there is one; a broker's own filters add few.
MAX_KINDS = 64


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    # For its size: smaller ones are taken. 0: whatever its size.
    size_bytes: int = 0


class Refusals:
    """The kinds of topics (``edgecam/front/event``, ``homeassistant/#``) that are refused now."""

    def __init__(self) -> None:
        self._refused: dict[str, _Refusal] = {}
        self._lock = threading.Lock()

    def refused(self, kind: str, reason: str, consequence: str, size_bytes: int = 0) -> None:
        """Log one line, unless this is known; only ``reason`` goes into telemetry.

        ``size_bytes``: of a message that is refused for its size.
        """
        with self._lock:
            known = self._refused.get(kind)
            if (known and known.reason == reason) or len(self._refused) >= MAX_KINDS:
                return
            self._refused[kind] = _Refusal(reason, size_bytes)
        log.warning("%s: %s; %s", kind, reason, consequence)

    def accepted(self, kind: str, size_bytes: int) -> None:
        """The broker has taken one of this size."""
        with self._lock:
            known = self._refused.get(kind)
            if known is None or size_bytes < known.size_bytes:
                return
            del self._refused[kind]
        log.info("%s: the broker takes it again", kind)

    def outlived(self, kind: str, size_bytes: int) -> None:
        """A connection has outlived one of this size, whether it was taken or not."""
        known = self._refused.get(kind)
        if known is not None and known.size_bytes:
            self.accepted(kind, size_bytes)

    def report(self) -> list[MqttRefusal]:
        """Return what the broker refuses, as telemetry has it."""
        with self._lock:
            return [MqttRefusal(topic=kind, reason=r.reason) for kind, r in self._refused.items()]
