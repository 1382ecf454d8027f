"""The broker that the settings name."""

from __future__ import annotations

from collections.abc import Iterator

from edgecam.doctor.finding import Finding, fail, ok
from edgecam.settings import Settings
from edgecam.types import SinkError


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether the broker answers and accepts the login and certificates."""
    if settings.mqtt.url is None:
        yield ok("broker", "none in the settings")
        return
    from edgecam.follow import Follower

    try:
        Follower(settings.mqtt, ("edgecam/#",), lambda *_: None).close()
    except SinkError as error:
        remedy = "mend mqtt.url, the login, or the broker's listener and firewall"
        yield fail("broker", str(error), remedy)
    else:
        yield ok("broker", f"{settings.mqtt.url} answers and takes the login")
