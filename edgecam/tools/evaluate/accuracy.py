"""Runs models over annotated pictures and scores what they find, one row for each variant."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from edgecam.analysis.turned import merged
from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions, Finds
from edgecam.core.turning import turn_image
from edgecam.inference.model import Model
from edgecam.pipeline.roi.turned_looks import TurnedLooks
from edgecam.settings.scene import MotionSettings
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.sources.picture import read_image
from edgecam.tools.evaluate.coco import EvaluateError, Metric, Picture, Truth, entries, score

# AP is the area under the precision-recall curve: a threshold that suits a screen would cut it
# off at the first false alarm. COCO counts 20 people and 100 boxes in a picture at most.
OPTIONS = DecodeOptions(score_threshold=0.05, max_poses=20, min_pose_score=0.0, max_detections=100)

METRICS: dict[Finds, Metric] = {"poses": "keypoints", "boxes": "boxes"}

Tick = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of one model.

    ``ap``, ``ap50``, ``ar``: 0..1. ``invoke_ms``: median of fill, invoke and read, one picture.
    ``categories``: how many of the annotated categories the model can find, all that is scored.
    """

    model: str
    family: str
    input: str
    fit: str
    decoder: str | None
    metric: Metric
    categories: int
    pictures: int
    ap: float
    ap50: float
    ar: float
    invoke_ms: float
    size_bytes: int


def metric_of(model: Model) -> Metric:
    """How the model's family is scored.

    Raises:
        EvaluateError: it finds neither poses nor boxes.
    """
    finds = model.decoder.finds
    if finds not in METRICS:
        raise EvaluateError(
            f"{model.path}: a {model.decoder.family} model finds neither poses nor boxes; "
            "expected a pose model or a detector"
        )
    return METRICS[finds]


def variants(
    model: ModelSettings,
    inference: InferenceSettings,
    fits: Sequence[str],
    decoders: Sequence[str],
    sizes: Sequence[str | None],
) -> Iterator[ModelSettings]:
    """The model with every fit, and every size and decoder where it has several."""
    decoder_of_it = Model(model, inference).decoder
    if decoder_of_it.size_step is None:
        sizes = (None,)
    if decoder_of_it.rules is None:
        decoders = ("auto",)
    for size, fit, decoder in itertools.product(sizes, fits, decoders):
        yield msgspec.structs.replace(model, input_size=size, fit=fit, decoder=decoder)


def evaluate(
    settings: ModelSettings,
    inference: InferenceSettings,
    truth: Truth,
    options: DecodeOptions,
    tick: Tick,
) -> Row:
    """Run one model over every picture and score it; ``tick`` gets the name and how many are done.

    Raises:
        EvaluateError: the annotations do not fit the model or a picture.
        EdgecamError: the model does not load or run.
    """
    model = Model(settings, inference)
    metric = metric_of(model)
    if truth.turned_looks and not model.finds_people:
        raise EvaluateError(
            f"--turned-looks: expected models that find poses of people, found {model.name}, "
            f"a {model.decoder.family} model; drop the option or the model"
        )
    categories = _categories(model, metric, truth)
    results: list[dict[str, Any]] = []
    times_ms: list[float] = []
    buffer = model.buffer()
    turning = TurnedLooks(1.0, [model], MotionSettings()) if truth.turned_looks else None
    for done, picture in enumerate(truth.pictures):
        tick(model.name, done)
        frame = frame_of(picture, done)
        staged = model.preprocess(frame, buffer)
        started_s = time.perf_counter()
        tensors = model.invoke(staged)
        times_ms.append((time.perf_counter() - started_s) * 1e3)
        found = model.decode(tensors, staged, frame, options)
        if turning is not None:
            found = merged(turning.with_stills(found, frame, options), options.max_poses)[0]
        results += entries(picture, found, metric, categories)
    tick(model.name, len(truth.pictures))
    scores = score(truth, metric, results, list(categories.values()))
    return Row(
        model=model.name,
        family=model.decoder.family,
        input=f"{model.resizer.height_px}x{model.resizer.width_px}",
        fit=model.fit,
        decoder=settings.decoder if model.decoder.rules is not None else None,
        metric=metric,
        categories=len(categories),
        pictures=len(truth.pictures),
        ap=scores.ap,
        ap50=scores.ap50,
        ar=scores.ar,
        invoke_ms=statistics.median(times_ms),
        size_bytes=len(model.file.data),
    )


def _categories(model: Model, metric: Metric, truth: Truth) -> dict[str, int]:
    if metric == "keypoints":
        return {"person": person_category(truth, model.name)}
    names = set(model.decoder.labels or ())
    shared = {name: number for name, number in truth.categories.items() if name in names}
    if not shared:
        raise EvaluateError(
            f"{truth.path}: none of its categories is a label of {model.name}, which has "
            f"{', '.join(sorted(names)[:4]) or 'no labels'}; give a label file with COCO's names"
        )
    return shared


def person_category(truth: Truth, name: str) -> int:
    """COCO's number of people, whose keypoints the model or run ``name`` finds.

    Raises:
        EvaluateError: no person is annotated.
    """
    if "person" not in truth.categories or not truth.has_keypoints:
        raise EvaluateError(
            f"{truth.path} has no keypoints of people, which {name} finds; "
            "give person_keypoints_*.json"
        )
    return truth.categories["person"]


def frame_of(picture: Picture, sequence: int) -> Frame:
    """An annotated picture as a frame.

    Raises:
        EvaluateError: it cannot be read, or is of another size than its annotations.
    """
    try:
        image = read_image(picture.path)
    except SourceError as error:
        raise EvaluateError(f"{picture.path}: {error}") from None
    if picture.turned_degrees:
        image = turn_image(image, picture.turned_degrees)
    frame = Frame(image, sequence, time.monotonic(), time.time(), file=picture.path.name)
    if (frame.width_px, frame.height_px) != (picture.width_px, picture.height_px):
        raise EvaluateError(
            f"{picture.path}: the annotations are for {picture.width_px}x{picture.height_px} "
            f"pixels, it has {frame.width_px}x{frame.height_px}; give the picture unchanged"
        )
    return frame
