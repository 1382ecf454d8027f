"""Tells Home Assistant what this instance has, and takes back what it no longer has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from edgecam.core import board
from edgecam.core.errors import PageError
from edgecam.core.events import POSTURES, EventType
from edgecam.core.keypoints import PERSON
from edgecam.homeassistant import discovery as homeassistant
from edgecam.homeassistant.features import Features
from edgecam.inference.model import Model
from edgecam.messages.label_names import label_key, topic_parts
from edgecam.messages.topics import Topics
from edgecam.mqtt.broker import Broker
from edgecam.settings.schema import Settings
from edgecam.sources import serves_several


def _known_labels(models: Sequence[Model]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for model in models for label in model.counted))


def label_parts(models: Sequence[Model]) -> Mapping[str, str]:
    """Return the part of a topic of each label that the models count.

    Raises:
        SettingsError: two would share a topic.
    """
    return topic_parts(each for model in models for each in model.counted_classes)


def features(settings: Settings, models: Sequence[Model], process: str | None = None) -> Features:
    """What the instance can tell with these models on this board.

    ``process``: the name of the process that several cameras share, which tells of the board.
    """
    labels = homeassistant.chosen_labels(_known_labels(models), settings.homeassistant)
    # A label of the picture as a whole is counted by no model.
    of_pictures = {label_key(label) for model in models for label in model.classes}
    of_pictures -= set(map(label_key, _known_labels(models)))
    labels = tuple(label for label in labels if label_key(label) not in of_pictures)
    tracks = settings.tracking.enabled
    if serves_several(settings.source):
        # What the cameras see is published under their own names; here is how the worker is.
        labels, tracks = (), False
    return Features(
        labels=labels,
        models=", ".join(model.name for model in models),
        has_temperature=process is None and _has_temperature(settings),
        has_throttling=process is None and board.throttled() is not None,
        has_snapshots=settings.snapshot.mode != "off",
        commands=frozenset(settings.remote.allow),
        zones={
            zone.name: tuple({label_key(label): label for label in zone.labels}.values()) or labels
            for zone in (settings.zone if tracks else ())
        },
        event_types=_event_types(settings) if tracks else (),
        parts=label_parts(models),
        classifies=tracks and any(model.decoder.finds == "classes" for model in models),
        classes=tuple(label for model in models for label in model.classes) if tracks else (),
        asked=settings.homeassistant.labels,
        stale_after_s=settings.mqtt.stale_after_s,
        title=settings.title,
        page=_page(settings),
        board=board.identity(),
        process=process,
        postures=POSTURES if tracks and any(model.finds_people for model in models) else (),
    )


def _has_temperature(settings: Settings) -> bool:
    return board.temperature_c(Path(settings.thermal.directory)) is not None


def _page(settings: Settings) -> str | None:
    """The address of the live page as other machines reach it, without its token; None if none."""
    if settings.web.listen is None:
        return None
    from edgecam.sinks.web.security import Address

    try:
        address = Address.parse(settings.web.listen)
    except PageError:
        return None
    if address.is_loopback or address.port == 0:
        return None
    named = next(iter(settings.web.hosts), None)
    if named is None:
        return address.url
    return f"http://{named}/" if re.search(r":\d+$", named) else f"http://{named}:{address.port}/"


def _event_types(settings: Settings) -> tuple[str, ...]:
    if not settings.plugins:
        return get_args(EventType)
    from edgecam.analysis.events.plugged import plugged_event_types

    return (*get_args(EventType), *plugged_event_types(settings))


def board_features(settings: Settings) -> Features:
    """What a process that several cameras share can tell of this board."""
    return Features(
        has_temperature=_has_temperature(settings),
        has_throttling=board.throttled() is not None,
        title=settings.title,
        page=_page(settings),
        board=board.identity(),
    )


def announce_board(broker: Broker, settings: Settings) -> None:
    """Publish the device of a process that several cameras share: the board, and how it is."""
    home = settings.homeassistant
    messages: dict[str, bytes] = {}
    broker.count_nothing()
    if home.enabled:
        found = board_features(settings)
        messages = homeassistant.board_discovery(settings.name, home, found)
    broker.keep_only(homeassistant.discovery_filter(settings.name, home), messages)
    for topic, payload in messages.items():
        broker.publish_retained(topic, payload)


def announce(
    broker: Broker, settings: Settings, models: Sequence[Model], process: str | None = None
) -> None:
    """Publish the discovery messages; what an earlier run left and is not among them is cleared.

    ``process``: the name of the process that several cameras share.
    """
    home = settings.homeassistant
    found = features(settings, models, process)
    messages: dict[str, bytes] = {}
    if all(model.decoder.finds == "classes" for model in models):
        broker.count_nothing()
    broker.name_labels(found.parts)
    if home.enabled:
        broker.expect(found.labels)
        messages = homeassistant.discovery(settings.name, home, found)
    broker.keep_only(homeassistant.discovery_filter(settings.name, home), messages)
    _prepare_states(broker, Topics(settings.name, found.parts), found, _known_labels(models))
    for topic, payload in messages.items():
        broker.publish_retained(topic, payload)


def _prepare_states(broker: Broker, topics: Topics, found: Features, known: Sequence[str]) -> None:
    """States of zones: none of those that are gone, and 0 until a person is seen."""
    kept = {
        topics.zone_count(zone, label)
        for zone, labels in found.zones.items()
        for label in {*labels, *known, PERSON}
    }
    broker.keep_only(f"{topics.base}/zone/+/count/+", kept)
    kept_label = [topics.classification] if found.classifies else []
    broker.keep_only(topics.classification, kept_label)
    broker.keep_only(topics.posture, [topics.posture] if found.postures else [])
    for zone, labels in found.zones.items():
        for label in labels:
            broker.publish_retained(topics.zone_count(zone, label), b"0")
