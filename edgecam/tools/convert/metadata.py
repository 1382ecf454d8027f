"""TFLite metadata for a model that is being written: what ``tflite_metadata`` reads back.

Slots are field numbers of ``metadata_schema.fbs`` of TFLite Support 0.4.4.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence

import flatbuffers

from edgecam.core.tensors import Normalization
from edgecam.inference.tflite.metadata import GUESSED, IDENTIFIER, NORMALIZATION_UNIT

LABEL_FILE = "labels.txt"
AXIS_LABELS = 2  # a label for each element of the output: classification, raw scores
VALUE_LABELS = 3  # the output's values are class numbers: what a detector's post-processing gives

_IMAGE_PROPERTIES = 2  # ContentProperties.ImageProperties
_RGB = 1  # ColorSpaceType
_MIN_PARSER_VERSION = "1.0.0"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that ZIP knows: the same bytes on every build


def pack(
    name: str,
    normalization: Normalization,
    input_name: str,
    output_names: Sequence[str],
    labels_of: Mapping[int, int] | None = None,
    guessed: bool = False,
) -> bytes:
    """Return the flatbuffer for the buffer ``TFLITE_METADATA``.

    ``labels_of`` maps the places of outputs that ``labels.txt`` is for to AXIS_LABELS or
    VALUE_LABELS; ``append_files`` puts the file itself behind the model. ``guessed``: nothing
    said the normalisation, and the description of the input says so to other programs too.
    """
    builder = flatbuffers.Builder(1024)
    kinds = labels_of or {}
    image = _input(builder, input_name, normalization, GUESSED if guessed else "")
    outputs = [
        _output(builder, output, kinds.get(place)) for place, output in enumerate(output_names)
    ]
    in_vector, out_vector = _vector(builder, [image]), _vector(builder, outputs)
    graph = _table(
        builder,
        7,
        lambda: (
            builder.PrependUOffsetTRelativeSlot(2, in_vector, 0),
            builder.PrependUOffsetTRelativeSlot(3, out_vector, 0),
        ),
    )
    graphs = _vector(builder, [graph])
    title, version = builder.CreateString(name), builder.CreateString(_MIN_PARSER_VERSION)
    root = _table(
        builder,
        8,
        lambda: (
            builder.PrependUOffsetTRelativeSlot(0, title, 0),
            builder.PrependUOffsetTRelativeSlot(3, graphs, 0),
            builder.PrependUOffsetTRelativeSlot(7, version, 0),
        ),
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def append_files(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return the model with files packed behind it, where TFLite's tools look for them."""
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
    return stream.getvalue()


def label_file(labels: Sequence[str]) -> dict[str, bytes]:
    """Return the label file for ``append_files``, one label a line."""
    return {LABEL_FILE: "".join(f"{label}\n" for label in labels).encode()}


def _input(
    builder: flatbuffers.Builder, name: str, normalization: Normalization, description: str
) -> int:
    title = builder.CreateString(name)
    about = builder.CreateString(description) if description else 0
    mean = _floats(builder, normalization.mean)
    std = _floats(builder, normalization.std)
    options = _table(
        builder,
        2,
        lambda: (
            builder.PrependUOffsetTRelativeSlot(0, mean, 0),
            builder.PrependUOffsetTRelativeSlot(1, std, 0),
        ),
    )
    unit = _table(
        builder,
        2,
        lambda: (
            builder.PrependUint8Slot(0, NORMALIZATION_UNIT, 0),
            builder.PrependUOffsetTRelativeSlot(1, options, 0),
        ),
    )
    units = _vector(builder, [unit])
    properties = _table(builder, 2, lambda: builder.PrependInt8Slot(0, _RGB, 0))
    content = _table(
        builder,
        3,
        lambda: (
            builder.PrependUint8Slot(0, _IMAGE_PROPERTIES, 0),
            builder.PrependUOffsetTRelativeSlot(1, properties, 0),
        ),
    )
    return _table(
        builder,
        7,
        lambda: (
            builder.PrependUOffsetTRelativeSlot(0, title, 0),
            builder.PrependUOffsetTRelativeSlot(1, about, 0),
            builder.PrependUOffsetTRelativeSlot(3, content, 0),
            builder.PrependUOffsetTRelativeSlot(4, units, 0),
        ),
    )


def _output(builder: flatbuffers.Builder, name: str, label_kind: int | None) -> int:
    title = builder.CreateString(name)
    files = 0
    if label_kind is not None:
        file_name = builder.CreateString(LABEL_FILE)
        file = _table(
            builder,
            5,
            lambda: (
                builder.PrependUOffsetTRelativeSlot(0, file_name, 0),
                builder.PrependInt8Slot(2, label_kind, 0),
            ),
        )
        files = _vector(builder, [file])
    return _table(
        builder,
        7,
        lambda: (
            builder.PrependUOffsetTRelativeSlot(0, title, 0),
            builder.PrependUOffsetTRelativeSlot(6, files, 0),
        ),
    )


def _table(builder: flatbuffers.Builder, slots: int, fill: Callable[[], object]) -> int:
    builder.StartObject(slots)
    fill()
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
