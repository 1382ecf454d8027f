"""Train an SSD, and write it: the Keras file, the frozen graph, the .tflite files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.inference.decoders import anchors
from edgecam.tools.convert.conversion import Options
from edgecam.tools.train import boxes, export, heads, mobilenet_v2, training, weights
from edgecam.tools.train.coco import Examples, Floats
from edgecam.tools.train.training import Course, Progress, Tell

_NAMES = (heads.ENCODINGS, heads.SCORES)
_CALIBRATION = 10  # batches that batch normalisation's averages are taken over at the end


@dataclass(frozen=True, slots=True, eq=False)
class Ssd:
    """An SSD or SSDLite MobileNet V2 of ``alpha`` for pictures of ``size`` (height, width).

    ``anchors``: float32[A, 4], see ``edgecam.anchors``.
    """

    alpha: float
    size: tuple[int, int]
    labels: tuple[str, ...]
    model: Any
    anchors: Floats


def build(alpha: float, size: tuple[int, int], labels: Sequence[str], *, lite: bool = True) -> Ssd:
    """Return an untrained one; ``lite`` has separable convolutions in its heads.

    Raises:
        ConvertError: TensorFlow is not installed.
    """
    made = heads.ssd(mobilenet_v2.build(alpha, size), alpha, len(labels), lite=lite)
    return Ssd(alpha, size, tuple(labels), made.model, anchors.grid(made.sides))


def train(
    ssd: Ssd,
    examples: Examples,
    course: Course,
    tell: Tell,
    check: Callable[[int], None] | None = None,
    check_every: int = 0,
) -> list[float]:
    """Train it; return the mean losses as reported.

    ``check`` is called with the step after every ``check_every`` steps, when the model can be
    used as it is then.

    Raises:
        TrainError: it diverges.
    """

    def reported_and_checked(progress: Progress) -> None:
        tell(progress)
        if check is not None and progress.step % check_every == 0 < course.steps - progress.step:
            training.recalibrate(ssd.model, data, _CALIBRATION)
            check(progress.step)

    data = boxes.batches(examples.examples, ssd.anchors, len(ssd.labels), course.batch, course.seed)
    losses = training.train(ssd.model, data, boxes.loss, course, reported_and_checked)
    training.recalibrate(ssd.model, data, _CALIBRATION)
    return losses


def keep(ssd: Ssd, path: Path) -> str:
    """Take over weights that fit from a Keras file; say which.

    Raises:
        ConvertError: nothing fits.
    """
    return str(weights.keep_fitting(ssd.model, path))


def to_tflite(ssd: Ssd, name: str) -> bytes:
    """Return the .tflite with post-processing alone, to see how far it is.

    Raises:
        ConvertError: the network does not convert.
    """
    return _converted(_definition(ssd), ssd, name, postprocess=True)


def write(ssd: Ssd, stem: Path) -> list[Path]:
    """Write STEM.keras, STEM.pb, STEM.tflite with post-processing and STEM_raw.tflite without.

    Raises:
        ConvertError: a file cannot be written, or the network does not convert.
    """
    definition = _definition(ssd)
    made = {
        export.beside(stem, ".pb"): definition.SerializeToString(deterministic=True),
        export.beside(stem, ".tflite"): _converted(definition, ssd, stem.name, postprocess=True),
        export.beside(stem, "_raw.tflite"): _converted(
            definition, ssd, stem.name, postprocess=False
        ),
        # For those who convert the frozen graph, which holds none.
        export.beside(stem, "_labels.txt"): _label_lines(ssd),
    }
    return export.write(ssd.model, stem, made)


def _definition(ssd: Ssd) -> Any:
    definition = export.freeze(ssd.model, ssd.size, _NAMES)
    return export.with_postprocess(definition, _NAMES, ssd.anchors, len(ssd.labels))


def _label_lines(ssd: Ssd) -> bytes:
    return "".join(f"{label}\n" for label in ssd.labels).encode()


def _converted(definition: Any, ssd: Ssd, name: str, *, postprocess: bool) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        label_file = Path(folder) / "labels.txt"
        label_file.write_bytes(_label_lines(ssd))
        options = Options(labels=label_file, postprocess=postprocess)
        return export.convert(definition, name, options).data
