"""What an instance has to tell Home Assistant, and one entity of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecam.core.board import BoardIdentity


@dataclass(frozen=True, slots=True)
class Features:
    """What this instance has to tell: labels that it counts, its models, the board's sensors.

    ``commands`` are the settings that may be changed over MQTT. ``zones`` maps a zone to the
    labels that are counted in it. ``event_types`` and ``postures`` are empty where nothing
    tells of them. ``title`` is the device's name, ``page`` the address of the live page.
    tells of them. ``parts`` are the parts of topics of labels, by their keys.
    ``classes`` are what a classifier says of a picture, of which those that are ``asked`` for get
    an entity each. ``process`` is the name of the process that several cameras share, None where
    this one has it to itself.
    """

    labels: tuple[str, ...] = ()
    models: str = ""
    has_temperature: bool = False
    has_throttling: bool = False
    has_snapshots: bool = False
    commands: frozenset[str] = frozenset()
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    event_types: tuple[str, ...] = ()
    postures: tuple[str, ...] = ()
    stale_after_s: float = 600.0
    title: str | None = None
    page: str | None = None
    board: BoardIdentity = field(default_factory=BoardIdentity)
    parts: Mapping[str, str] = field(default_factory=dict)
    classifies: bool = False
    classes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    process: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity; ``needs_camera`` if it means nothing while the camera is away."""

    component: str
    object_id: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    needs_camera: bool = False
