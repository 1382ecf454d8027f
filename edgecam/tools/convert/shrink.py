"""Quantise a file, compare it with the float model, and write it only if it is good enough."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from edgecam.core.frame import Frame
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.inference.tflite.file import read
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert import agreement, calibration
from edgecam.tools.convert.agreement import Agreement
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.quantize import quantize
from edgecam.tools.convert.recipe import CALIBRATED, Mode

Track = Callable[[Sequence[Frame], str], Iterable[Frame]]


def _untracked(frames: Sequence[Frame], _what: str) -> Iterable[Frame]:
    return frames


def shrink(
    settings: ModelSettings,
    mode: Mode,
    pictures: Path | None,
    *,
    count: int = calibration.PICTURES,
    threads: int | None = None,
    track: Track = _untracked,
) -> tuple[bytes, Agreement]:
    """Return the model quantised, and how it agrees with the float one on the same pictures.

    ``pictures``: a directory, a glob or a clip; None for the bundled clip. ``count``: how many
    of them are looked at, at least. ``track`` shows how far a pass over them has come.

    Raises:
        EdgecamError: the model or the pictures cannot be used, or quantising fails.
    """
    # One device for both, and for calibration: a delegate with kernels of its own is no measure.
    inference = InferenceSettings(delegate="cpu", threads=threads, probe=False)
    reference = Model(settings, inference)
    frames = calibration.pictures(pictures, count)
    inputs = calibration.tensors(reference, track(frames, "calibrating"))
    data = quantize(reference.file, mode, inputs if mode in CALIBRATED else ())
    return data, _compared(settings, reference, inference, data, track(frames, "comparing"))


def halved(settings: ModelSettings) -> bytes:
    """Return a model of any kind with float16 weights, compared with nothing.

    Raises:
        EdgecamError: the file is no model, or computes in integers.
    """
    return quantize(read(bundled.resolve(settings.path)), "fp16", ())


def compare(
    settings: ModelSettings, data: bytes, pictures: Path | None = None, *, track: Track = _untracked
) -> Agreement:
    """Return how ``data``, the model of ``settings`` made smaller elsewhere, agrees with it.

    Raises:
        EdgecamError: as ``shrink``; also where no family decodes the model.
    """
    inference = InferenceSettings(delegate="cpu", probe=False)
    reference = Model(settings, inference)
    frames = calibration.pictures(pictures, calibration.PICTURES)
    return _compared(settings, reference, inference, data, track(frames, "comparing"))


def _compared(
    settings: ModelSettings,
    reference: Model,
    inference: InferenceSettings,
    data: bytes,
    frames: Iterable[Frame],
) -> Agreement:
    with tempfile.TemporaryDirectory(prefix="edgecam-") as directory:
        made = Path(directory) / reference.path.name
        made.write_bytes(data)
        same = msgspec.structs.replace(settings, path=str(made), fit=reference.fit)
        return agreement.compare(reference, Model(same, inference), frames)


def shows_nothing(found: Agreement) -> str | None:
    """Return why a comparison says nothing of how good the quantised model is, None if it does."""
    if found.kind != "labels" or found.distinct != 1 or found.things < 2:
        return None
    return (
        f"all {found.pictures} pictures give one label, so that they show nothing: a model that "
        "has lost everything may give it too; give pictures of every class with --calibrate"
    )


def check(found: Agreement, mode: Mode, max_loss: float, name: str) -> None:
    """Refuse a model that lost more than ``max_loss`` (0..1) of what the float one finds.

    Raises:
        ConvertError: it did, or the float one finds nothing.
    """
    if not found.things:
        raise ConvertError(
            f"{name} is not written: the float model finds nothing in {found.pictures} pictures, "
            "so that the quantised one cannot be compared with it; give pictures of what it is for "
            "with --calibrate, or write it with --force"
        )
    if found.loss > max_loss:
        milder = {"int8": "int8-mixed"}.get(mode, "fp16")
        raise ConvertError(
            f"{name} is not written: it lost {found.loss:.3f} of what the float model finds "
            f"({found.things} {found.kind}), more than --max-loss {max_loss:g}; calibrate with "
            f"pictures like those it will see, try {milder}, or write it with --force"
        )
