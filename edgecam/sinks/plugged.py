"""Sink of a plugin, which must not end the run that it only listens to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from edgecam.core.plugins import refusal
from edgecam.core.result import Result

log = logging.getLogger(__name__)


class PluggedSink:
    """Gives a plugin's sink every result until it fails; then closes it, counts and goes on."""

    def __init__(self, name: str, sink: Any) -> None:
        self._name, self._sink = name, sink
        self._failed = False

    def _ask(self, call: Callable[[], Any]) -> Any:
        if self._failed:
            return None
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - of others' code: any fault
            self._failed = True
            log.error("%s", refusal(self._name, "sinks", error))
            return None

    def publish(self, result: Result) -> None:
        """Hand the result to the plugin's sink; leave it out once it has failed."""
        self._ask(lambda: self._sink.publish(result))

    def restart(self, boot_id: str) -> None:
        """Hand on the boot id of a new session."""
        self._ask(lambda: self._sink.restart(boot_id))

    def counters(self) -> Mapping[str, int]:
        """Return the plugin's own under its name, and whether it has failed."""
        own = self._ask(self._sink.counters) or {}
        failed = {"failed": 1} if self._failed else {}
        return {f"{self._name}_{key}": int(count) for key, count in {**own, **failed}.items()}

    def close(self) -> None:
        """Close the plugin's sink."""
        self._ask(self._sink.close)
