"""A backbone with a new head: global average pooling, then classes or nothing.

The backbone's operators and weights stay as they are, quantised or not; the head is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.inference.tflite.graph import FileTensor
from edgecam.inference.tflite.metadata import FIT_NAME
from edgecam.tools.convert import metadata
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.train.head import flat
from edgecam.tools.train.head.backbone import Backbone, shapes_at
from edgecam.tools.train.head.flat import FlatOp, FlatTensor

Floats = NDArray[np.float32]

FEATURES, SCORES = "features", "scores"
_METADATA = "TFLITE_METADATA"
_RUNTIME = "min_runtime_version"
_RELU_AFTER = (1, 0, False, False, 0)  # the options of FULLY_CONNECTED
_OLDEST_RUNTIME = b"1.15.0"  # has every operator of the head


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A softmax over ``labels``, K names, of the features of the map at ``layer`` of the backbone.

    ``dense``: (weights float32[out, in], bias float32[out]) of each layer; the last has K, those
    before it end in a ReLU.
    """

    layer: int
    labels: Sequence[str]
    dense: Sequence[tuple[Floats, Floats]]


def features(backbone: Backbone, size: tuple[int, int] | None) -> bytes:
    """Return the backbone for pictures of ``size`` (None: its own), every map averaged.

    The output is float32[1, D]: the averages of all maps, one map behind the other.

    Raises:
        ConvertError: the network does not fit that size, or has operators that are not known.
    """
    made = _Graft(backbone, backbone.maps, size)
    joined = made.joined([made.pooled(tensor) for tensor in backbone.maps])
    # Numbers for labels: without any, a row of features is refused as no classifier.
    count = sum(tensor.shape[-1] for tensor in backbone.maps)
    return made.packed(joined, "", [str(number) for number in range(count)])


def classifier(
    backbone: Backbone, size: tuple[int, int] | None, head: Head, description: str
) -> bytes:
    """Return the backbone up to the head's map, and the head.

    Raises:
        ConvertError: as ``features``, or the head does not fit the map.
    """
    tensor = backbone.maps[head.layer]
    taken, made = head.dense[0][0].shape[1], head.dense[-1][0].shape[0]
    if (made, taken) != (len(head.labels), tensor.shape[-1]):
        raise ConvertError(
            f"expected a head from {tensor.shape[-1]} features to {len(head.labels)} classes, "
            f"found one from {taken} to {made}"
        )
    made = _Graft(backbone, (tensor,), size)
    return made.packed(made.classes(made.pooled(tensor), head), description, head.labels)


class _Graft:
    """The backbone up to ``ends``, while a head is added."""

    def __init__(
        self, backbone: Backbone, ends: Sequence[FileTensor], size: tuple[int, int] | None
    ) -> None:
        self._backbone = backbone
        self._model, self._places = flat.read(backbone.file, [end.index for end in ends])
        if size not in (None, backbone.file.inputs[0].shape[1:3]):
            self._resize(ends, size)

    def _resize(self, ends: Sequence[FileTensor], size: tuple[int, int]) -> None:
        # Cut it fits sizes that the whole network's head may not; the same ends, the same places.
        plain = _Graft(self._backbone, ends, None)
        data = plain.packed(plain.joined([plain.pooled(end) for end in ends]), "", ())
        shapes = shapes_at(data, self._backbone.file.name, size)
        self._model.tensors = [
            replace(tensor, shape=shapes.get(place, tensor.shape))
            for place, tensor in enumerate(self._model.tensors)
        ]

    def pooled(self, end: FileTensor) -> int:
        """Add the average of a map, of a row itself; return its tensor."""
        place = self._places[end.index]
        tensor = self._model.tensors[place]
        name = f"{tensor.name}/average"
        if tensor.type != "FLOAT32":
            place = self._add("DEQUANTIZE", [place], f"{name}/map", tensor.shape)
        if len(end.shape) == 2:
            return place
        axes = self._constant(f"{name}/axes", np.array([1, 2], "<i4"))
        return self._add("MEAN", [place, axes], name, (1, end.shape[3]))

    def joined(self, places: Sequence[int]) -> int:
        """Add the concatenation of rows; return its tensor."""
        width = sum(self._model.tensors[place].shape[1] for place in places)
        return self._add("CONCATENATION", places, FEATURES, (1, width), (1, 0))

    def classes(self, features: int, head: Head) -> int:
        """Add the dense layers and softmax; return the tensor of probabilities."""
        last = features
        for number, (weights, bias) in enumerate(head.dense, 1):
            is_last = number == len(head.dense)
            name = "head" if is_last else f"hidden_{number}"
            taken = self._constant(f"{name}_weights", weights.astype("<f4"))
            added = self._constant(f"{name}_bias", bias.astype("<f4"))
            made = "logits" if is_last else name
            shape, options = (1, len(bias)), () if is_last else _RELU_AFTER
            last = self._add("FULLY_CONNECTED", [last, taken, added], made, shape, options)
        return self._add("SOFTMAX", [last], SCORES, (1, len(head.labels)), (1.0,))

    def _add(
        self,
        op: str,
        inputs: Sequence[int],
        name: str,
        shape: tuple[int, ...],
        options: tuple[float, ...] = (),
    ) -> int:
        output = self._tensor(FlatTensor(name, shape, "FLOAT32"))
        self._model.ops.append(FlatOp(op, tuple(inputs), (output,), options))
        return output

    def _constant(self, name: str, values: NDArray[Any]) -> int:
        kind = values.dtype.name.upper()
        return self._tensor(FlatTensor(name, values.shape, kind, values.tobytes()))

    def _tensor(self, tensor: FlatTensor) -> int:
        self._model.tensors.append(tensor)
        return len(self._model.tensors) - 1

    def packed(self, output: int, description: str, labels: Sequence[str]) -> bytes:
        """Return the file with ``output`` as its own, and metadata for picture and labels."""
        self._model.output = output
        image, name = (self._model.tensors[p].name for p in (self._model.input, output))
        kinds = {0: metadata.AXIS_LABELS} if labels else None
        about = metadata.pack(description, self._backbone.normalization, image, [name], kinds)
        # As pictures were shown while it learnt.
        entries = {_RUNTIME: self._runtime(), _METADATA: about, FIT_NAME: b"letterbox"}
        data = flat.write(self._model, description, entries)
        return metadata.append_files(data, metadata.label_file(labels)) if labels else data

    def _runtime(self) -> bytes:
        stated = bytes(self._backbone.file.metadata.get(_RUNTIME, b"")).rstrip(b"\0")
        newest = max(stated, _OLDEST_RUNTIME, key=_version)
        return newest.ljust(16, b"\0")


def _version(text: bytes) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(b"."))
