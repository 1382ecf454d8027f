"""What the tracks of a frame add up to: events and states, for those who automate by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from edgecam.core.rules import EVENT_TYPES

if TYPE_CHECKING:
    EventType = str
else:
    EventType = Literal[EVENT_TYPES]
# From an empty scene to the gravest: of several people the last one stands.
POSTURES = ("none", "unknown", "standing", "sitting", "crouching", "lying", "fallen")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that began or happened in the picture, found by a rule of ``analysis.events``.

    ``number`` is that of the occurrence: what belongs together (``entered`` and ``exited``,
    ``fall`` and ``recovered``) shares it. ``time_s`` is when it was known and ``started_s`` when
    it began, on the clock of the frames (``Frame.time_s``); ``unix_s`` is the wall clock at the
    capture of the frame that it was known by. ``dwell_s`` is how long it had lasted. ``score``,
    0..1, is the track's.
    """

    event_type: EventType
    number: int
    time_s: float
    unix_s: float
    started_s: float
    dwell_s: float
    track: int
    label: str
    score: float
    zone: str | None = None
    attributes: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insight:
    """The events of a frame, and the states as they are in it.

    ``counts`` is how many of each label are there, each person once, ``zone_counts`` the same by
    zone and label. ``posture`` is one of ``POSTURES``, None where no model finds poses. ``label``
    is what a classifier says of the picture, once that has lasted.
    """

    events: tuple[Event, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    zone_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    posture: str | None = None
    label: str | None = None
