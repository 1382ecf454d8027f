"""Events for the sinks, which need nothing to have happened."""

from __future__ import annotations

import time

from edgecam.core.events import Event


def wave(**attributes: str | float) -> Event:
    """A wave seen now; ``attributes`` tell it from others on the wire."""
    return Event("wave", 0, 0.0, time.time(), 0.0, 0.0, 3, "person", 0.9, None, attributes)
