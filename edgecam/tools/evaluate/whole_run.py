"""Scores a whole run on annotated pictures: what finds, what refines, and what they agree on.

Each picture goes through the same steps as a frame of a recording.
"""

from __future__ import annotations

import statistics
from typing import Any

from msgspec.structs import replace

from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded
from edgecam.daemon.build import load_models
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.roi.inference_steps import invoke_only, run_steps
from edgecam.settings.schema import Settings
from edgecam.tools.evaluate.accuracy import Row, Tick, frame_of, person_category
from edgecam.tools.evaluate.coco import Truth, entries, score


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
    category = {"person": person_category(truth, name)}
    results: list[dict[str, Any]] = []
    times_ms: list[float] = []
    for done, picture in enumerate(truth.pictures):
        tick(name, done)
        inferring = roi.infer(frame_of(picture, done), [True] * len(models), options)
        result = run_steps(inferring, invoke_only)
        times = result.times.values()
        times_ms.append(sum(each.preprocess_ms + each.invoke_ms for each in times))
        results += entries(picture, Decoded(poses=result.poses), "keypoints", category)
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
