"""Falls that are reported of people made of numbers who do not fall: see ``score-events``.

They walk, sit down, lie down, tie a shoe, pick something up, drop onto a sofa and sit down on the
floor as children do, seen from 24 directions and four heights through the error model of a network,
with turned looks once a second. What they do takes as long as it takes people, each a little
different. The last line is of those who fall, for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from synthetic_camera import SIZE_PX, Seen, looking_at, seen
from synthetic_people import (
    AT,
    Array,
    Chance,
    bent,
    crouching,
    joints,
    lying,
    sitting,
    sitting_on_floor,
    standing,
)

from edgecam.analysis.analyzer import Analysis
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result, TurnedLook
from edgecam.settings.schema import Settings

DIRECTIONS, HEIGHTS_M = 24, (0.8, 1.4, 2.0, 2.6)
SECONDS = 13.0
TURNED_LOOK_S = 1.0
IMAGE = np.broadcast_to(np.zeros((), np.uint8), (SIZE_PX[1], SIZE_PX[0], 3))

# When each row is reached, in seconds, and the rows; in between people move smoothly.
Course = Sequence[tuple[float, Array]]


def walks(chance: Chance) -> Course:
    here, there = standing(chance), standing(chance)
    here[AT["x"]], there[AT["x"]] = -1.5, 1.5
    return [(0.0, here), (1.5, here), (1.5 + chance.uniform(2.5, 5.0), there), (9.0, there)]


def _goes(chance: Chance, to: Array, took_s: float, up_s: float | None = None) -> Course:
    stands, start_s = standing(chance), chance.uniform(2.0, 3.0)
    to[AT["x"]] = chance.uniform(-0.2, 0.2)
    course = [(0.0, stands), (start_s, stands), (start_s + took_s, to)]
    if up_s is not None:
        course += [(start_s + took_s + up_s, to), (start_s + took_s + up_s + 1.2, stands)]
    return course


def sits_down(chance: Chance) -> Course:
    return _goes(chance, sitting(chance), chance.uniform(1.0, 2.0))


def lies_down(chance: Chance) -> Course:
    stands, edge, rest = standing(chance), sitting(chance), lying(chance)
    rest[AT["base"]], rest[AT["roll"]] = 0.45, 0.0
    rest[AT["lean"]] = edge[AT["lean"]] - np.radians(90.0)
    sits_s = chance.uniform(1.0, 2.0)
    lies_s = sits_s + chance.uniform(1.0, 2.0)
    end_s = 2.0 + lies_s + chance.uniform(1.8, 3.5)
    return [(0.0, stands), (2.0, stands), (2.0 + sits_s, edge), (2.0 + lies_s, edge), (end_s, rest)]


def ties_a_shoe(chance: Chance) -> Course:
    return _goes(chance, crouching(chance), chance.uniform(0.9, 1.6), chance.uniform(4.0, 7.0))


def picks_up(chance: Chance) -> Course:
    return _goes(chance, bent(chance), chance.uniform(0.7, 1.3), chance.uniform(0.3, 1.5))


def drops_onto_a_sofa(chance: Chance) -> Course:
    slumped = sitting(chance)
    slumped[AT["lean"]] -= np.radians(10.0)
    return _goes(chance, slumped, chance.uniform(0.6, 0.9))


def child_on_the_floor(chance: Chance) -> Course:
    return _goes(chance, sitting_on_floor(chance), chance.uniform(0.8, 1.6))


def falls(chance: Chance) -> Course:
    floor = lying(chance)
    floor[AT["x"]] = chance.uniform(0.3, 0.9)
    return _goes(chance, floor, chance.uniform(0.6, 1.1))


ACTIVITIES: Mapping[str, Callable[[Chance], Course]] = {
    "walks": walks,
    "sits down": sits_down,
    "lies down": lies_down,
    "ties a shoe": ties_a_shoe,
    "picks something up": picks_up,
    "drops onto a sofa": drops_onto_a_sofa,
    "child on the floor": child_on_the_floor,
    "falls": falls,
}


def rows(course: Course, times_s: Array) -> Array:
    """float64[F, 16]: how the person is at each of these times."""
    when = np.array([time_s for time_s, _ in course])
    keys = np.array([key for _, key in course])
    place = np.clip(np.searchsorted(when, times_s, side="right") - 1, 0, len(when) - 2)
    share = np.clip((times_s - when[place]) / (when[place + 1] - when[place]), 0.0, 1.0)
    smooth = (share * share * (3.0 - 2.0 * share))[:, None]
    made = keys[place] * (1.0 - smooth) + keys[place + 1] * smooth
    speed = np.abs(np.gradient(made[:, AT["x"]], times_s))
    stride = np.minimum(speed, 0.9) * 0.5 * np.sin(2.0 * np.pi * 0.9 * times_s)
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        made[:, AT[f"{side}_hip"]] += sign * stride
        made[:, AT[f"{side}_knee"]] += np.maximum(0.0, -sign * stride) * 1.4
    return made


@dataclass(slots=True)
class Line:
    """How many people did something, and of how many a fall was reported."""

    people: int = 0
    fallen: int = 0
    lying: int = 0


def watched(found: Seen, times_s: Array) -> Iterator[Result]:
    """What the looks at one person find, turned ones included."""
    turned_s = -TURNED_LOOK_S
    for number, time_s in enumerate(times_s.tolist()):
        pose = Pose(0.6, found.xy[number], found.scores[number])
        part = Decoded(poses=(pose,)) if found.found[number] else Decoded()
        if not found.found[number] and time_s - turned_s >= TURNED_LOOK_S - 1e-6:
            turned_s = time_s
            if found.found_turned[number]:
                part = Decoded(turned=(TurnedLook(90, (pose,)),))
        yield Result(Frame(IMAGE, number, time_s, time_s, media_time_s=time_s), {"posenet": part})


def score(people: int, rate_hz: float, seed: int = 0) -> Mapping[str, Line]:
    """Watch so many people, the activities in turn, at ``rate_hz`` looks a second."""
    table = {name: Line() for name in ACTIVITIES}
    times_s = np.arange(0.0, SECONDS, 1.0 / rate_hz)
    for number in range(people):
        chance = np.random.default_rng((seed, number))
        name = list(ACTIVITIES)[number % len(ACTIVITIES)]
        turn = np.repeat(chance.integers(DIRECTIONS) * 360.0 / DIRECTIONS, len(times_s))
        height = np.full_like(turn, HEIGHTS_M[chance.integers(len(HEIGHTS_M))])
        cameras = looking_at(
            turn,
            np.full_like(turn, chance.uniform(2.5, 4.5)),
            height,
            np.full_like(turn, 0.8),
            np.full_like(turn, 66.0),
        )
        stature = (
            chance.uniform(0.95, 1.3) if name.startswith("child") else chance.uniform(1.5, 1.9)
        )
        body = joints(rows(ACTIVITIES[name](chance), times_s), np.full(len(times_s), stature))
        hidden = np.full(len(times_s), chance.random() < 0.1)
        found = seen(body, cameras, hidden, np.zeros(len(times_s), np.intp), chance)
        analysis = Analysis(Settings(), finds_poses=True)
        reported = {
            event.event_type
            for result in watched(found, times_s)
            for insight in [analysis(result).insight]
            for event in (insight.events if insight is not None else ())
        }
        line = table[name]
        line.people += 1
        line.fallen += "fall" in reported
        line.lying += "lying" in reported
    return table


def lines(table: Mapping[str, Line]) -> list[str]:
    """The table in words."""
    printed = [f"{'made of numbers':20} {'people':>7} {'fall':>7} {'':>7} {'lying':>7}"]
    for name, line in table.items():
        share = line.fallen / max(1, line.people)
        printed.append(f"{name:20} {line.people:7} {line.fallen:7} {share:7.1%} {line.lying:7}")
    return printed
