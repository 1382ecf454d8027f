"""Scores a whole run on annotated pictures: what finds, what refines, and what they agree on.

Each picture goes through the same steps as a frame of a recording.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from msgspec.structs import replace

from edgecam.analysis.turned import merged
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded
from edgecam.daemon.build import load_models
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.roi.inference_steps import invoke_only, run_steps
from edgecam.pipeline.roi.turned_looks import TurnedLooks
from edgecam.settings.scene import MotionSettings
from edgecam.settings.schema import Settings
from edgecam.tools.evaluate.accuracy import Row, Tick, frame_of, person_category
from edgecam.tools.evaluate.coco import EvaluateError, Truth, entries, score


class WholeRun:
    """All models of ``settings`` together; ``models`` are those that were loaded.

    ``turned_looks``: stills get all the turned looks too, where a model finds poses of people in
    whole frames, as ``turns`` says.

    Raises:
        EdgecamError: a model does not load, or the models do not go together.
    """

    def __init__(self, settings: Settings, options: DecodeOptions, turned_looks: bool) -> None:
        # COCO counts so many people in a picture.
        settings = replace(settings, refine_max_people=options.max_poses)
        self.models = load_models(settings)
        self._options = options
        self._roi = RoiController(settings, self.models)
        finds = any(model.finds_people and not model.refines for model in self.models)
        self.turns = turned_looks and finds
        self._turning = TurnedLooks(1.0, self.models, MotionSettings()) if self.turns else None

    def look(self, frame: Frame) -> tuple[Decoded, float]:
        """The people in a picture, and the milliseconds of filling and invoking.

        Raises:
            ModelError: a model fails.
        """
        asked = [True] * len(self.models)
        result = run_steps(self._roi.infer(frame, asked, self._options), invoke_only)
        took_ms = sum(each.preprocess_ms + each.invoke_ms for each in result.times.values())
        found = Decoded(poses=result.poses)
        if self._turning is not None:
            looked_s = time.perf_counter()
            with_turned = self._turning.with_stills(found, frame, self._options)
            found = merged(with_turned, self._options.max_poses)[0]
            took_ms += (time.perf_counter() - looked_s) * 1e3
        return found, took_ms


def evaluate_run(
    name: str, settings: Settings, truth: Truth, options: DecodeOptions, tick: Tick
) -> Row:
    """Run all models of ``settings`` together over every picture, and score the people found.

    ``name`` stands in the row; ``tick`` gets it and how many pictures are done.

    Raises:
        EvaluateError: the annotations have no keypoints of people, or do not fit a picture.
        EdgecamError: a model does not load or run, or the models do not go together.
    """
    run = WholeRun(settings, options, truth.turned_looks)
    if truth.turned_looks and not run.turns:
        finders = ", ".join(model.name for model in run.models if not model.refines)
        raise EvaluateError(
            f"--turned-looks: expected one that finds poses of people, found {finders}; drop the "
            "option or add -m posenet"
        )
    category = {"person": person_category(truth, name)}
    results: list[dict[str, Any]] = []
    times_ms: list[float] = []
    for done, picture in enumerate(truth.pictures):
        tick(name, done)
        found, took_ms = run.look(frame_of(picture, done))
        times_ms.append(took_ms)
        results += entries(picture, found, "keypoints", category)
    tick(name, len(truth.pictures))
    scores = score(truth, "keypoints", results, list(category.values()))
    first = run.models[0]
    return Row(
        model=name,
        family="+".join(dict.fromkeys(model.decoder.family for model in run.models)),
        input=f"{first.resizer.height_px}x{first.resizer.width_px}",
        fit=first.fit,
        decoder=None,
        metric="keypoints",
        categories=1,
        pictures=len(truth.pictures),
        ap=scores.ap,
        ap50=scores.ap50,
        ar=scores.ar,
        invoke_ms=statistics.median(times_ms),
        size_bytes=sum(len(model.file.data) for model in run.models),
    )
