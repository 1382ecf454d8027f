"""Settings that may change while a run goes on, as they are now."""

from __future__ import annotations

from collections.abc import Mapping

from edgecam.core.protocols import DecodeOptions
from edgecam.settings.schema import Settings


class LiveSettings:
    """Those of a run that nothing changes: it has neither a broker nor a page.

    ``paused``: no frame is looked at.
    """

    def __init__(self, settings: Settings) -> None:
        self._decode = settings.decode
        self._options = settings.decode.options()
        self.paused = False

    def options(self) -> DecodeOptions:
        """The thresholds as they are now."""
        return self._options

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {}

    def close(self) -> None:
        """Ignore what comes from now on."""
