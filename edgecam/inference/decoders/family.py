"""Base of the decoders, and the context in which a family looks whether a model is its own.

A family file exposes ``recognise(inputs, outputs, context) -> Decoder | None``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import Skeleton
from edgecam.core.protocols import Finds
from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization, TensorInfo

if TYPE_CHECKING:
    from edgecam.inference.calibration import Calibration


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FamilyDecoder:
    """Base of the decoders: what most of them state; a family gives what differs.

    The fields are those of ``core.protocols.Decoder``, which says what each is for.
    """

    family: str
    finds: Finds
    why: str
    outputs: tuple[int, ...] = (0,)
    size_step: int | None = None
    rules: str | None = None
    skeleton: Skeleton | None = None
    fit: str = "letterbox"
    normalization: Normalization = MINUS_ONE_TO_ONE
    labels: tuple[str, ...] | None = None
    for_crops: bool = False
    turns_crops: bool = False


@dataclass(frozen=True, slots=True)
class PostProcess:
    """The ``TFLite_Detection_PostProcess`` node of a model.

    ``outputs``: tensor indices of boxes, classes, scores and count. ``classes``: how many
    classes it tells apart, without background, None where the node does not say.
    """

    outputs: tuple[int, ...]
    classes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FamilyContext:
    """What the model's file and the person say about decoding beyond the tensor table.

    ``labels``: one name per class, None where none is known. ``metadata_output_names``: the
    names that TFLite metadata gives the outputs, in output order, empty without metadata;
    ``signature_output_names`` those of its signature, "" where that does not know an output.
    ``decoder``: auto, tfjs or coral (PoseNet's rules). ``anchors``: float32[N, 4], (y centre,
    x centre, height, width) as fractions of the input, None where the model carries none.
    ``output_ops``: the op that computes each output, in output order, "" where the file does not
    tell; reshapes and changes of type are looked through. ``postprocess``: the node, if any.
    ``plugins``: those whose families are asked where none of edgecam's own fits.
    ``calibration``: of the scores of boxes or classes, where the metadata has one.
    ``fit``: how pictures filled the input while it was taught, where its file says so.
    """

    labels: tuple[str, ...] | None = None
    metadata_output_names: tuple[str, ...] = ()
    decoder: str = "auto"
    anchors: NDArray[Any] | None = None
    output_ops: tuple[str, ...] = ()
    postprocess: PostProcess | None = None
    signature_output_names: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    calibration: Calibration | None = None
    fit: str | None = None

    def output_op(self, place: int) -> str:
        """Return the op that computes the output at ``place``, "" where it is unknown."""
        return self.output_ops[place] if place < len(self.output_ops) else ""

    def output_name(self, place: int, info: TensorInfo) -> str:
        """Return what metadata calls an output, else its name in the graph, in lower case."""
        names = self.metadata_output_names
        return (names[place] if place < len(names) and names[place] else info.name).lower()

    def namings(self, outputs: Sequence[TensorInfo]) -> Iterator[list[str]]:
        """Yield every set of names for the outputs, in lower case, the surest first.

        The graph's names and the signature's belong to the tensors. Metadata goes by place, and
        is out of step where the outputs were put into another order.
        """
        yield [info.name.lower() for info in outputs]
        for names in (self.signature_output_names, self.metadata_output_names):
            if len(names) == len(outputs):
                yield [name.lower() for name in names]


def image_size(inputs: Sequence[TensorInfo]) -> tuple[int, int] | None:
    """Return (height, width) of the one input if that is a picture, [1, H, W, 3], else None."""
    if len(inputs) != 1:
        return None
    shape = inputs[0].shape
    return (shape[1], shape[2]) if len(shape) == 4 and shape[0] == 1 and shape[3] == 3 else None


def holds_probabilities(info: TensorInfo, op: str) -> bool | None:
    """Whether an output is 0..1 already: by the op that makes it or its quantisation's range.

    None where neither tells.
    """
    if op in ("LOGISTIC", "SOFTMAX"):
        return True
    if info.scale is not None and info.zero_point is not None and info.dtype.itemsize == 1:
        limits = np.iinfo(info.dtype)
        low = (limits.min - info.zero_point) * info.scale
        high = (limits.max - info.zero_point) * info.scale
        return bool(low == 0.0 and 0.9 < high <= 1.01)
    return False if op else None
