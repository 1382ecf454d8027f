"""Where to look once more: at people whom the last look did not show, or who may have fallen."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.absence import MIN_HEIGHT, Absence
from edgecam.analysis.following import Following
from edgecam.analysis.tracker import Track
from edgecam.core.result import Pose

# Sides of the square, in heights of the person: who falls over lies within their own height of
# where they stood.
FALL_ROOM = 2.0
# In longer sides of the box around one who is known to lie there.
ROOM = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A square around a person, float64[4] (x_min, y_min, x_max, y_max) in source-frame pixels.

    ``track``: their id, None where a turned look found them and no track is confirmed yet.
    ``is_urgent``: a fall of theirs is suspected.
    """

    square: NDArray[np.float64]
    track: int | None
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    """What the next look of a model should know: the ``places`` to look at."""

    places: tuple[Place, ...] = ()


def attention(
    following: Following, model: str, suspected: Container[int], size_px: tuple[int, int]
) -> Attention:
    """What the next look of a model should know.

    ``suspected`` are the ids of those who may have fallen; ``size_px`` (width, height) is the
    frame's.
    """
    last_s, tracker = following.looks_of(model).last_s, following.tracker(model, Pose)
    if last_s is None:
        return Attention()
    lost = following.absences.lost
    found = list(_unseen(following, tracker.tracks, suspected, last_s, size_px))
    for number, absence in sorted(lost.items()):
        square = _square(absence.subject.box, ROOM, FALL_ROOM * absence.tallest_px)
        found.append(Place(square, number, number in suspected))
    return Attention(tuple(found))


def _unseen(
    following: Following,
    tracks: Iterable[Track],
    suspected: Container[int],
    last_s: float,
    size_px: tuple[int, int],
) -> Iterator[Place]:
    """The places of those who have a track and whom the last look did not show."""
    for track in tracks:
        is_large = track.tallest_px >= MIN_HEIGHT * size_px[1]
        is_missed = track.last_s < last_s and is_large
        if track.id is None:
            if track.is_turned:
                yield Place(_square(track.box, ROOM), None)
        elif track.id in suspected:
            yield Place(_square(track.box, ROOM, FALL_ROOM * track.tallest_px), track.id, True)
        elif is_missed and not following.absences.has_left(track, size_px):
            yield Place(_square(track.box, ROOM, FALL_ROOM * track.tallest_px), track.id)


def find_lost(following: Following, model: str, poses: Iterable[Pose], now_s: float) -> None:
    """Follow the lost people again whom a look that was made for them found."""
    lost = following.absences.lost
    for pose in poses:
        absence = lost.pop(pose.track, None) if pose.track is not None else None
        if absence is not None:
            following.tracker(model, Pose).tracks.append(_returned(absence, pose, now_s))


def _returned(absence: Absence, pose: Pose, now_s: float) -> Track:
    subject, last_s = absence.subject, absence.last_s
    track = Track(subject.track, pose, subject.box, subject.first_s, last_s)
    track.waited_s, track.tallest_px = absence.waited_s, absence.tallest_px
    # As if it had been looked at as seldom all the time: it is not too old.
    track.turned_s, track.gap_s = last_s, now_s - last_s
    return track


def _square(box: NDArray[np.float64], room: float, least_px: float = 0.0) -> NDArray[np.float64]:
    centre = (box[:2] + box[2:]) / 2.0
    side_px = max(least_px, room * float((box[2:] - box[:2]).max()))
    return np.concatenate((centre - side_px / 2.0, centre + side_px / 2.0))
