"""Tells Home Assistant what this instance has, and takes back what it no longer has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecam import board, homeassistant
from edgecam.homeassistant import Features
from edgecam.model import Model
from edgecam.report import Broker
from edgecam.settings import Settings


def features(settings: Settings, models: Sequence[Model]) -> Features:
    """What the instance can tell with these models on this board."""
    known = [label for model in models for label in model.counted]
    return Features(
        labels=homeassistant.chosen_labels(known, settings.homeassistant),
        models=", ".join(model.name for model in models),
        has_temperature=board.temperature_c(Path(settings.thermal.directory)) is not None,
        has_throttling=board.throttled() is not None,
        has_snapshots=settings.snapshot.mode != "off",
        commands=frozenset(settings.remote.allow),
    )


def announce(broker: Broker, settings: Settings, models: Sequence[Model]) -> None:
    """Publish the discovery messages; what an earlier run left and is not among them is cleared."""
    home = settings.homeassistant
    messages: dict[str, bytes] = {}
    if home.enabled:
        found = features(settings, models)
        broker.expect(found.labels)
        messages = homeassistant.discovery(settings.name, home, found)
    broker.keep_only(homeassistant.discovery_filter(settings.name, home), messages)
    for topic, payload in messages.items():
        broker.publish_retained(topic, payload)
