"""``fall``: a person comes down far and fast and stays down; ``recovered``: up after all.

Geometry and source: ``analysis.events.body``. It is decided in two steps, in units of the person's
own trunk as it was while they were upright.

Suspicion: shoulders and hips come down from where they were upright by 1.2 and 0.5 trunks, in at
most ``events.fall_within_s``, and the trunk tilts; or one who was just upright lies, with the hips
lower by 0.3: who lies down on the bed on which they sit has them where they were. Both at 0.8
trunks a second or more on the whole, and at 1.3 where it is fastest, shoulders and hips together:
one who lies down slowly is never so fast, and an old person who holds on is in the end. Who was
crouching has to be seen all the way. Where less is seen, it has to be 1.5: head and shoulders come
down by 1.2 trunks and the hips are not sure, or the person is lost inside the picture after the
shoulders came down by 0.5 trunks. Of looks that are more than 0.25 s apart the middle between them
counts. Sitting down on a chair brings them down by less.

Decision: ``events.fall_confirm_s`` later, by the looks at the place since; turned looks show one
who lies there, and a refining model, where there is one, looks closer. No fall is reported of one
who was up again in between: for 0.3 s upright with the shoulders back by half of the way, or
standing: with a trunk of three quarters of its length at least, or walking. Nor of one who crouches
or sits in most of these looks, with a whole trunk and the feet well below the hips; nor of one who
is still seen upright, in three looks of five, and lies in at most one of five: they sit on the
floor, as a child who plays does. Who came down at 2 trunks a second or more with a trunk that
tilted, or unseen, has fallen though they sit. A chair there that looks like a person is no witness,
nor is what is unsure and does not move, or has a short trunk. Where no look shows the person, the
fall is reported. Two tracks of one person who fell give one fall, and neither has ``left``. The
``attributes`` say by what: ``drop`` (trunks), ``lying_seen`` (share of the looks since),
``still_s`` (since when they have not moved), ``looks`` (how many saw them since) and
``confidence``, 0..1: half for the drop, a quarter each for lying and for keeping still.
``recovered`` comes once they are up for ``events.recovered_s``. A mask that excludes ``fall`` makes
blind for falls that begin inside it. A person whose trunk is less than 6 % of the picture's height
is too small to judge.

How surely: ten staged falls of the UR Fall Detection set, from a level camera, the last picture
held for 8 s. The rules were tuned on these clips: expect less of others. What is
given for lost looks and for clips without a fall was measured before postures came from a network.

| looks a second | 10 | 5 | 2 |
| --- | --- | --- | --- |
| falls reported, PoseNet alone | 10 of 10 | 10 of 10 | 9 of 10 |
| the same, a fifth of the looks lost | 10 of 10 | 10 of 10 | 8 of 10 |
| falls reported, the default | 10 of 10 | 10 of 10 | 8 of 10 |
| ``lying``, of 7 who lie at the end: PoseNet alone | 6 | 5 | 4 |
| ``lying``, the default | 6 | 5 | 6 |
| the one who ends sitting is called ``lying``, the default | yes | yes | no |

The report comes 5.5 to 6 s after the fall begins. Five clips without a fall (a baby asleep,
exercise, people who sign, a street) give none at 10, 5 and 2 looks a second with PoseNet alone.
Played backwards, as one who gets up, none of ten is reported at any of these. Played at a quarter
of the speed, as one who lies down, two of ten were reported as a fall at 5 looks a second before
the rule asked for a fast part; these two no longer are, the others were not played again. Five
kinds of falls of one person of the UP-Fall set, seen from the side and from the front, give nine of
ten at 5 looks a second with PoseNet alone. Of 60 people each who are made of numbers
(``scripts/score-events --synthetic``) a fall is reported of none who ties a shoe, picks something
up or sits down on the floor as children do, of one who lies down and of one who drops onto a sofa.
Look at least 5 times a second; edgecam says at its start where a model that finds poses is meant to
look less often than 3 times. The camera hangs level or tilted down by up to 30 degrees, with the
whole person in the picture: seen from the ceiling no trunk is long enough to judge, and edgecam
says so at its start where ``scene.pitch_degrees`` is 60 or more.

What is not detected: a fall that takes longer than ``events.fall_within_s``, as old people's often
do; sliding down with a straight trunk to sit on the floor; a fall out of the picture or behind
furniture that begins there; a fall of one who was not seen upright before. Dropping onto a sofa
within 0.6 s, or out of sight behind one, looks the same as a fall. edgecam is no medical device: no
alarm is no proof that all is well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from edgecam.analysis.events.descent import (
    HARD_SPEED,
    MIN_HIP_DROP,
    MIN_SHOULDER_DROP,
    MISSED_LOOKS,
    UNSEEN_S,
    UPRIGHT_TRUNK,
    Descent,
    Height,
    Way,
    are_close,
    distance_px,
    is_on_feet,
    may_begin,
    peak_speed,
)
from edgecam.analysis.events.rule import Asked, Lasting, Memory, RuleKind, event
from edgecam.analysis.events.trunk import head, trunk
from edgecam.core.events import Event
from edgecam.core.rules import RULES
from edgecam.settings.section import Seconds, Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Subject

# One frame of a tumbling skeleton may look upright.
UPRIGHT_AGAIN_S = 0.3
# Of one who walks down the picture shoulders and hips come down alike.
MIN_TILT = 0.2
# Lost on the way down: how far the shoulders had come, in trunks.
MIN_LOST_DROP = 0.5
# Who lies down on the bed or sofa on which they sit has the hips where they were.
MIN_LYING_HIP_DROP = 0.3
# Looks that are further apart say less of when it began and ended: the middle between them counts.
RARE_LOOK_S = 0.25
# Where less is seen, the head alone or the first part of the way, it has to be so fast.
FAST_SPEED = 1.5
# No person moves faster, in trunks a second, but for noise of so many trunks: it is another.
MAX_SPEED = 8.0
NOISE = 0.4
# A trunk of less than this part of the picture's height is too small to tell.
MIN_UNIT = 0.06
# How long what is known of a person unseen is kept, besides the time of a fall.
KEPT_S = 2.0
# An unsure and still "person" may be a coat stand: who is so sure, or moves, is none.
SURE_ALIVE = 0.45
# Who is so many trunks further aside is another person: who falls headlong comes down a body's
# length away, and a step.
MAX_STEP = 3.5
# Of the trunks of so many upright looks three in four are at most the unit: one who leans, as at
# the beginning of a fall, has a shorter one.
UNIT_LOOKS = 60
# Falls at one place, so many trunks apart, and at one time are one person's.
TWIN_APART = 2.0
TWIN_S = 3.0


@dataclass(slots=True)
class _Person:
    """``seen`` is where they were lately, ``units_px`` are the trunks of the last upright looks."""

    up: Lasting = field(default_factory=Lasting)
    units_px: list[float] = field(default_factory=list)
    seen: list[Height] = field(default_factory=list)
    is_lost: bool = False
    descent: Descent | None = None

    @property
    def apart_s(self) -> float:
        """How far apart the looks are, where none misses the person."""
        return min((b.time_s - a.time_s for a, b in itertools.pairwise(self.seen)), default=0.0)

    @property
    def unseen_s(self) -> float:
        """Looks that are further apart have missed the person more than twice in between."""
        return max(UNSEEN_S, MISSED_LOOKS * self.apart_s)

    @property
    def unit_px(self) -> float:
        return sorted(self.units_px)[len(self.units_px) * 3 // 4]


class FallSettings(Section, frozen=True):
    """How fast one comes down, and how long one stays there."""

    fall: Annotated[bool, Meta(description="fall, recovered")] = True
    fall_within_s: Annotated[
        Seconds, Meta(description="who takes longer to come down has not fallen")
    ] = 1.2
    fall_confirm_s: Annotated[Seconds, Meta(description="not up again for so long")] = 5.0
    recovered_s: Annotated[Seconds, Meta(description="up again for so long")] = 1.0


class Falls:
    """Watches each person on their own; a fall and its recovery share a number."""

    name, title = "fall", "Falls"
    event_types = RULES[name]
    settings_type: type[Section] | None = FallSettings

    def __init__(self, settings: FallSettings, number: Callable[[], int]) -> None:
        self._settings, self._number = settings, number
        self._people: Memory[_Person] = Memory(_Person)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Falls | None:
        """Return the rule, None where the settings leave it out."""
        own = asked.of(FallSettings)
        return cls(own, number) if own.fall else None

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {self.name: self._people}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``fall`` and ``recovered`` of the people in this frame."""
        self._people.keep(scene)
        for subject in scene.subjects:
            if subject.pose is not None:
                yield from self._evaluate(scene, subject, self._people[subject.track])
        for subject in scene.lost:
            if subject.pose is not None:
                person = self._people[subject.track]
                if not person.is_lost:
                    person.is_lost = True
                    self._suspect_of_lost(person, scene)
                yield from self._decide(scene, subject, person)

    @property
    def fallen(self) -> frozenset[int]:
        """The tracks that have fallen and not got up."""
        return frozenset(
            track
            for track, person in self._people.states.items()
            if person.descent is not None and person.descent.number is not None
        )

    @property
    def falling(self) -> frozenset[int]:
        """The tracks that have, and those of which it is suspected."""
        people = self._people.states.items()
        return frozenset(track for track, person in people if person.descent is not None)

    def _evaluate(self, scene: Scene, subject: Subject, person: _Person) -> Iterator[Event]:
        person.is_lost = False
        is_announced = person.descent is not None and person.descent.number is not None
        if self.name in subject.blind and not is_announced:
            person.descent = None
            person.seen.clear()
            return
        ends = None if subject.pose is None else trunk(subject.pose)
        if ends is None or subject.posture is None:
            self._suspect_of_head(person, subject, scene)
        else:
            (x, shoulders), (_, hips) = ends
            height = Height(scene.time_s, x, shoulders, hips, subject.posture)
            self._follow(person, height, scene, subject, math.dist(*ends))
            if height.is_upright and person.descent is None:
                person.units_px.append(max(1.0, math.dist(*ends)))
                while len(person.units_px) > UNIT_LOOKS:
                    person.units_px.pop(0)
            yield from self._get_up(scene, subject, person, height, math.dist(*ends))
        yield from self._decide(scene, subject, person)

    def _follow(
        self, person: _Person, height: Height, scene: Scene, subject: Subject, trunk_px: float
    ) -> None:
        before = person.seen[-1] if person.seen else None
        if before is not None and person.units_px:
            took_s = height.time_s - before.time_s
            leap = distance_px(height, before) / person.unit_px
            if person.descent is None and leap > MAX_SPEED * took_s + NOISE:
                # Another person, or a skeleton that comes apart.
                person.seen.clear()
        if person.descent is None:
            self._suspect(person, height, scene)
        else:
            person.descent.follow(height, before)
            person.descent.lying += height.posture == "lying"
            is_alive = _is_alive(subject, person.descent, scene)
            crouches = is_on_feet(subject, height, trunk_px, person.descent.unit_px)
            person.descent.on_feet += crouches and is_alive
            is_long = trunk_px >= UPRIGHT_TRUNK * person.descent.unit_px
            person.descent.upright += height.is_upright and is_long and is_alive
        person.seen.append(height)

    def _ways(self, person: _Person, height: Height, scene: Scene) -> Iterator[Way]:
        """The ways from where the person was upright lately to ``height``, the latest first."""
        kept_s = self._settings.fall_within_s + KEPT_S
        while person.seen and height.time_s - person.seen[0].time_s > kept_s + 1e-6:
            person.seen.pop(0)
        if not person.units_px:
            return
        unit_px, began_s = person.unit_px, height.time_s
        ended_s = _middle_s(person.seen[-1].time_s if person.seen else began_s, height.time_s)
        if unit_px < MIN_UNIT * scene.height_px:
            return
        way, unseen_s = [height], person.unseen_s
        for stood in reversed(person.seen):
            # It may have begun just before the look after that.
            next_s, least_s = began_s, ended_s - began_s
            began_s = stood.time_s
            way.insert(0, stood)
            if least_s > self._settings.fall_within_s + 1e-6:
                return
            drop = (height.shoulders - stood.shoulders) / unit_px
            is_near = abs(height.x - stood.x) <= MAX_STEP * unit_px
            if drop >= MIN_LOST_DROP and is_near and may_begin(way, unseen_s):
                hip_drop = (height.hips - stood.hips) / unit_px
                took_s = ended_s - _middle_s(stood.time_s, next_s, begins=True)
                peak = peak_speed(way, unit_px, person.apart_s)
                yield Way(stood, unit_px, drop, hip_drop, least_s, took_s, peak)

    def _suspect(self, person: _Person, height: Height, scene: Scene) -> None:
        for way in self._ways(person, height, scene):
            is_far = way.drop >= MIN_SHOULDER_DROP and way.hip_drop >= MIN_HIP_DROP
            falls = is_far and (not height.is_upright or way.tilt >= MIN_TILT)
            is_low = way.drop >= MIN_LOST_DROP and way.hip_drop >= MIN_LYING_HIP_DROP
            lies = height.posture == "lying" and is_low
            if (falls or lies) and way.is_fall_fast:
                self._descend(person, height, way)
                return

    def _suspect_of_head(self, person: _Person, subject: Subject, scene: Scene) -> None:
        """Look at the head and the shoulders alone, where the hips are not sure."""
        top = None if subject.pose is None else head(subject.pose)
        if person.descent is not None or top is None:
            return
        seen = Height(scene.time_s, *top, top[1], posture="")
        for way in self._ways(person, seen, scene):
            if way.drop >= max(MIN_SHOULDER_DROP, FAST_SPEED * way.took_s):
                self._descend(person, seen, way)
                return

    def _suspect_of_lost(self, person: _Person, scene: Scene) -> None:
        if person.descent is not None or not person.seen:
            return
        last = person.seen[-1]
        for way in self._ways(person, last, scene):
            is_low = way.stood.posture != "sitting" or way.hip_drop >= MIN_LYING_HIP_DROP
            if is_low and way.drop >= max(MIN_LOST_DROP, FAST_SPEED * way.took_s):
                self._descend(person, last, way)
                return

    def _descend(self, person: _Person, height: Height, way: Way) -> None:
        now_s = height.time_s
        way_down = [*(h for h in person.seen if h.time_s >= way.stood.time_s), height]
        is_seen = are_close(way_down, person.unseen_s)
        person.descent = Descent(
            now_s,
            way.stood,
            way.unit_px,
            way.drop,
            moved_s=now_s,
            # Without a look on the way it may have taken all the time between.
            is_fast=way.drop >= HARD_SPEED * (now_s - way.stood.time_s),
            is_tilted=not (is_seen and all(h.is_upright for h in way_down)),
            seen_s=now_s,
        )
        person.up.clear()

    def _get_up(
        self, scene: Scene, subject: Subject, person: _Person, height: Height, trunk_px: float
    ) -> Iterator[Event]:
        descent = person.descent
        if descent is None:
            return
        is_up = descent.is_over(height, trunk_px)
        is_up = is_up and _is_alive(subject, descent, scene)
        lasts_s = UPRIGHT_AGAIN_S if descent.number is None else self._settings.recovered_s
        person.up.update(is_up, scene.time_s, lasts_s, 0.0)
        if person.up.is_on:
            person.descent = None
            person.seen.clear()
            if descent.number is not None and not descent.is_twin:
                yield event("recovered", descent.number, scene, subject, descent.since_s)

    def _decide(self, scene: Scene, subject: Subject, person: _Person) -> Iterator[Event]:
        descent, confirm_s = person.descent, self._settings.fall_confirm_s
        if descent is None or descent.number is not None:
            return
        if scene.time_s - descent.since_s < confirm_s - 1e-6:
            return
        if descent.is_no_fall(scene.time_s):
            person.descent = None
            person.seen.clear()
            return
        descent.number = self._published(descent, person)
        if descent.number is not None:
            descent.is_twin = True
            return
        descent.number = self._number()
        about = descent.attributes(scene.time_s, confirm_s)
        yield event("fall", descent.number, scene, subject, descent.since_s, None, about)

    def _published(self, descent: Descent, person: _Person) -> int | None:
        """The number of the same fall, where another track of this person has it; else None.

        A network may see one who lies in two parts, with a track each.
        """
        for other in self._people.states.values():
            reported = other.descent
            if reported is None or reported.number is None or not other.seen or not person.seen:
                continue
            is_then = abs(reported.since_s - descent.since_s) <= TWIN_S
            apart_px = distance_px(other.seen[-1], person.seen[-1])
            if is_then and apart_px <= TWIN_APART * max(reported.unit_px, descent.unit_px):
                return reported.number
        return None


def _middle_s(before_s: float, after_s: float, begins: bool = False) -> float:
    """When something between two looks happened: it began at the first, or ended at the second."""
    if after_s - before_s > RARE_LOOK_S:
        return (before_s + after_s) / 2.0
    return before_s if begins else after_s


def _is_alive(subject: Subject, descent: Descent, scene: Scene) -> bool:
    return subject.score >= SURE_ALIVE or descent.moved_s == scene.time_s


RULE: type[RuleKind] = Falls
