"""The refining step: a model looks once more at each person whom the finders saw.

It gets a square around one person at a time, sampled by one affine warp from the frame into its
input. Of a recording everybody is looked at in every frame. Of a camera as many as there is time
for, those first who waited longest: at least three quarters of the time that finding takes, and
what is left until the next frame where that is more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgecam.core.frame import Frame
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Decoded, Pose, StageTimes
from edgecam.pipeline.roi.inference_steps import ModelRunner, Steps
from edgecam.pipeline.roi.person_square import box_of, edges_of
from edgecam.pipeline.roi.refined_people import (
    Candidate,
    People,
    Person,
    distinct,
    most_due,
    with_boxes,
)
from edgecam.pipeline.roi.single_pose import both_poses, single_pose

# Of finding's time; what else a frame costs comes to the rest, so that half the rate is kept.
_SHARE = 0.75
# Of the time to the next frame: the clock of a busy board is not exact.
_FILLS = 0.8
# So many cameras are remembered.
_MAX_CAMERAS = 256


@dataclass(slots=True)
class _Pace:
    """How much time refining has in a frame of a camera."""

    credit_ms: float = 0.0
    last_s: float | None = None
    sequence: int = 0

    def begin(self, frame: Frame, found_ms: float) -> None:
        """Earn the time that a frame gives; ``found_ms``: what finding took."""
        earned_ms = _SHARE * found_ms
        if self.last_s is not None and frame.sequence > self.sequence:
            period_s = (frame.captured_s - self.last_s) / (frame.sequence - self.sequence)
            earned_ms = max(earned_ms, _FILLS * period_s * 1e3 - found_ms)
        self.last_s, self.sequence = frame.captured_s, frame.sequence
        self.credit_ms = min(self.credit_ms, 0.0) + earned_ms


class Refiner:
    """Looks at people with ``runner``, at ``max_people`` in a frame at most.

    ``every``: frames from one look at a person to the next, 1: as often as there is time.
    ``mirrors``: a look is two, one at the mirrored square.
    """

    def __init__(
        self, runner: ModelRunner, max_people: int, every: int = 1, mirrors: bool = False
    ) -> None:
        self._runner, self._max_people, self._every = runner, max_people, every
        self._look_at = both_poses if mirrors else single_pose
        self._people: dict[str | None, People] = {}
        self._paces: dict[str | None, _Pace] = {}
        names = ("refine_looks", "refine_refused", "refine_waits")
        self.counts = Counter(dict.fromkeys(names, 0))

    @property
    def runner(self) -> ModelRunner:
        """What runs the refining model."""
        return self._runner

    def refine(
        self, frame: Frame, found: Sequence[Candidate], found_ms: float, live: bool
    ) -> Steps[tuple[list[Pose], StageTimes]]:
        """The people of a frame, refined where there was time, and what that took.

        ``found``: whom the finders saw, and ``found_ms`` what that took. ``live``: a frame that is
        late is lost.
        """
        people, number = self._seen(frame, found)
        pace = self._paces.setdefault(frame.camera, _Pace())
        pace.begin(frame, found_ms)
        waiting = list(people)
        times = StageTimes(0.0, 0.0, 0.0)
        for person in most_due(people, number, self._max_people, self._every):
            if live and pace.credit_ms <= 0.0:
                break
            pose, took = yield from self._look(frame, person, number)
            self.counts["refine_looks"] += 1
            self.counts["refine_refused"] += not person.looked(pose, number)
            waiting.remove(person)
            pace.credit_ms -= took.preprocess_ms + took.invoke_ms + took.decode_ms
            times = _sum(times, took)
        for person in waiting:
            self.counts["refine_waits"] += 1
            person.wait(number)
        return distinct(people), times

    def _look(
        self, frame: Frame, person: Person, number: int
    ) -> Steps[tuple[Pose | None, StageTimes]]:
        square = person.square(number, self._runner.model.turns_crops)
        return self._look_at(self._runner, frame, square)

    def forget(self) -> None:
        """What comes next has nothing to do with what was."""
        self._people.clear()
        self._paces.clear()

    def _seen(self, frame: Frame, found: Sequence[Candidate]) -> tuple[list[Person], int]:
        if len(self._people) > _MAX_CAMERAS:
            self.forget()
        people = self._people.setdefault(frame.camera, People())
        return people.seen(found), people.number


def candidates(poses: Sequence[Pose], parts: Sequence[Decoded]) -> list[Candidate]:
    """Whom the finders saw: ``poses``, and the person boxes of ``parts``."""
    boxes = [
        Candidate(each.score, edges_of(each.box))
        for part in parts
        for each in part.detections
        if each.label == PERSON
    ]
    return with_boxes([Candidate(pose.score, box_of(pose), pose) for pose in poses], boxes)


def _sum(first: StageTimes, second: StageTimes) -> StageTimes:
    return StageTimes(
        first.preprocess_ms + second.preprocess_ms,
        first.invoke_ms + second.invoke_ms,
        first.decode_ms + second.decode_ms,
    )
