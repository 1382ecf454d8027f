"""What is asked of a conversion and what it gives; which file reads which kind of model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecam.core import bounded_file
from edgecam.core.tensors import Normalization
from edgecam.tools.convert.graph import ConvertError

# Suffix of the source ("" is a folder) -> the file under edgecam/convert that takes it. Each has
# ``convert(source: Path, options: Options) -> Converted``.
_READERS: Mapping[str, str] = {
    "": "from_tensorflow",
    ".h5": "from_tensorflow",
    ".hdf5": "from_tensorflow",
    ".json": "from_tfjs",
    ".keras": "from_tensorflow",
    ".meta": "from_tensorflow",
    ".pb": "from_graphdef",
    ".task": "from_bundle",
    ".tflite": "from_tflite",
    ".zip": "from_bundle",
}

# What is said of a float input whose normalisation neither file nor option says.
UNSTATED = (
    "the network does not say how its input is normalised; the file says -1..1, "
    "give --mean and --std if it was trained otherwise"
)


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asks for; None leaves it to the kind of model.

    ``size``: (height, width) of the input. ``half``: float16 weights. ``normalization``: what the
    network was trained with. ``postprocess``: an SSD's non-maximum suppression inside the model
    (True) or outside. ``labels``: a detector's label file. ``for_tfjs``: what comes is to have a
    TensorFlow.js form, which that suppression has none of. ``inputs`` and ``outputs``: names of
    the tensors between which the network is cut out of a larger graph. ``bgr``: it was trained on
    pictures in that order and is to take RGB.
    """

    size: tuple[int, int] | None = None
    half: bool = False
    normalization: Normalization | None = None
    postprocess: bool | None = None
    labels: Path | None = None
    for_tfjs: bool = False
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    bgr: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """``data``: the .tflite file. ``notes``: lines that the person should read."""

    data: bytes
    notes: Sequence[str] = ()


def convert(source: Path, options: Options) -> Converted:
    """Convert a published model to TFLite.

    Raises:
        ConvertError: the model is of no known kind, is damaged, or does not convert.
    """
    source = member(source)
    in_bundle = is_bundle(source.parent)
    if not in_bundle and not source.exists():
        raise ConvertError(f"{source}: no such file or folder")
    suffix = source.parent.suffix if in_bundle else source.suffix
    reader = _READERS.get("" if source.is_dir() else suffix.lower())
    if reader is None:
        kinds = ", ".join(suffix or "a folder" for suffix in _READERS)
        raise ConvertError(f"{source}: expected one of {kinds}")
    module = importlib.import_module(f"edgecam.tools.convert.{reader}")
    converted: Converted = module.convert(source, options)
    return converted


def member(source: Path) -> Path:
    """Return ``a.task:NAME`` as ``a.task/NAME``; anything else as it is."""
    archive, colon, name = str(source).rpartition(":")
    return Path(archive, name) if colon and is_bundle(Path(archive)) else source


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle of models, or one in it."""
    archive = next((each for each in (path, path.parent) if each.is_file()), None)
    return archive is not None and archive.suffix.lower() in (".task", ".zip")


def float_model(source: Path, options: Options) -> Converted:
    """Return a source as a .tflite that computes in float, for TensorFlow.js: itself if it is one.

    Raises:
        ConvertError: as ``convert``, or something else is asked of a .tflite.
    """
    if source.suffix.lower() != ".tflite":
        return convert(source, replace(options, for_tfjs=True))
    if options != Options():
        raise ConvertError(f"{source.name} is converted as it is; --size and others do not apply")
    try:
        return Converted(bounded_file.read(source, bounded_file.MODEL_BYTES))
    except OSError as error:
        raise ConvertError(f"cannot read {source}: {error.strerror or error}") from None
