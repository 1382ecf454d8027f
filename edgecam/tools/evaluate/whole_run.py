"""Scores a whole run on annotated pictures: what finds, what refines, and what they agree on.

Each picture goes through the same steps as a frame of a recording.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from msgspec.structs import replace

from edgecam.analysis.turned import merged
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


def evaluate_run(
    name: str, settings: Settings, truth: Truth, options: DecodeOptions, tick: Tick
) -> Row:
    """Run all models of ``settings`` together over every picture, and score the people found.

    ``name`` stands in the row; ``tick`` gets it and how many pictures are done.

    Raises:
        EvaluateError: the annotations have no keypoints of people, or do not fit a picture.
        EdgecamError: a model does not load or run, or the models do not go together.
    """
    # COCO counts so many people in a picture.
    settings = replace(settings, refine_max_people=options.max_poses)
    models = load_models(settings)
    roi = RoiController(settings, models)
    finders = [model for model in models if not model.refines]
    if truth.turned_looks and not any(model.finds_people for model in finders):
        raise EvaluateError(
            f"--turned-looks: expected one that finds poses of people, found "
            f"{', '.join(model.name for model in finders)}; drop the option or add -m posenet"
        )
    turning = TurnedLooks(1.0, models, MotionSettings()) if truth.turned_looks else None
    category = {"person": person_category(truth, name)}
    results: list[dict[str, Any]] = []
    times_ms: list[float] = []
    for done, picture in enumerate(truth.pictures):
        tick(name, done)
        frame = frame_of(picture, done)
        result = run_steps(roi.infer(frame, [True] * len(models), options), invoke_only)
        times = result.times.values()
        times_ms.append(sum(each.preprocess_ms + each.invoke_ms for each in times))
        found = Decoded(poses=result.poses)
        if turning is not None:
            looked_s = time.perf_counter()
            found = merged(turning.with_stills(found, frame, options), options.max_poses)[0]
            times_ms[-1] += (time.perf_counter() - looked_s) * 1e3
        results += entries(picture, found, "keypoints", category)
    tick(name, len(truth.pictures))
    scores = score(truth, "keypoints", results, list(category.values()))
    first = models[0]
    return Row(
        model=name,
        family="+".join(dict.fromkeys(model.decoder.family for model in models)),
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
        size_bytes=sum(len(model.file.data) for model in models),
    )
