"""The refining step of a run: which models find, which one refines, and whose poses result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgecam.core.errors import SettingsError
from edgecam.core.frame import Frame
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Decoded, StageTimes
from edgecam.pipeline.roi.inference_steps import ModelRunner, PartialResult, Steps
from edgecam.pipeline.roi.refiner import Refiner, candidates
from edgecam.settings.accuracy import chosen
from edgecam.settings.schema import Settings

_NOTHING = StageTimes(0.0, 0.0, 0.0)


class Refining:
    """Refines what ``finders`` found; the poses are those of the first that finds any.

    Where all of them find boxes, the poses are the refining model's own.
    """

    def __init__(self, refiner: Refiner, finders: Sequence[ModelRunner]) -> None:
        self._refiner = refiner
        self._finders = finders
        self._hidden = [each.name for each in finders if not each.model.publishes]
        posing = [each.name for each in finders if each.model.finds_poses]
        self._poses_of = posing[0] if posing else None

    @property
    def counts(self) -> Mapping[str, int]:
        """How many people were looked at, refused, and left waiting."""
        return self._refiner.counts

    def forget(self) -> None:
        """What comes next has nothing to do with what was."""
        self._refiner.forget()

    def add(
        self, sight: PartialResult, frame: Frame, may: Sequence[bool], live: bool
    ) -> Steps[None]:
        """Put refined poses into ``sight``, where a finder looked and the refining model may."""
        runner = self._refiner.runner
        names = [each.name for each in self._finders if each.name in sight.found]
        whose = self._poses_of or runner.name
        if names and may[runner.place]:
            parts = [sight.found[name] for name in names]
            before = sight.found.get(whose, Decoded())
            found_ms = sum(_total_ms(sight.times.get(name, _NOTHING)) for name in names)
            found = candidates(before.poses, parts)
            poses, times = yield from self._refiner.refine(frame, found, found_ms, live)
            sight.add(whose, (replace(before, poses=tuple(poses)), sight.times.get(whose, times)))
            sight.times[runner.name] = times
        for name in self._hidden:
            sight.found.pop(name, None)


def refining(settings: Settings, runners: Sequence[ModelRunner]) -> Refining | None:
    """Return the refining step that the models ask for, None where none of them refines.

    Raises:
        SettingsError: the one that refines does not, or nothing finds people for it.
    """
    runner = next((each for each in runners if each.model.refines), None)
    others = [each for each in runners if each is not runner]
    hidden = next((each for each in others if not each.model.publishes), None)
    if hidden is not None and (runner is None or hidden.model.finds_poses):
        raise SettingsError(
            f"model {hidden.name}: publish = false is for a detector whose boxes serve refine "
            "alone; drop it"
        )
    if runner is None:
        return None
    if not (runner.model.for_crops and runner.model.finds_people):
        raise SettingsError(
            f"refine: expected a model for the square around one person, such as thunder, found "
            f"{runner.name}, which looks at whole frames; give it as --model"
        )
    single = next((each for each in others if each.model.for_crops), None)
    if single is not None:
        raise SettingsError(
            f"--model {single.name}: expected one that finds people in whole frames, such as "
            f"posenet, found one for the square around one person; give it as --refine"
        )
    finders = [each for each in others if _finds_people(each)]
    if not finders:
        raise SettingsError(
            f"refine: expected a model that finds people for {runner.name} to look at, found "
            "none; add --model posenet or a detector with the label person"
        )
    every = settings.crop.refine_every if settings.crop.enabled else 1
    mirrors = chosen(settings).refine_mirrored
    return Refining(Refiner(runner, settings.refine_max_people, every, mirrors), finders)


def _finds_people(runner: ModelRunner) -> bool:
    return runner.model.finds_people or PERSON in runner.model.counted


def _total_ms(times: StageTimes) -> float:
    return times.preprocess_ms + times.invoke_ms + times.decode_ms
