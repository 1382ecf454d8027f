"""What a model family is told, besides the tensors, when it looks whether a model is its own.

A family file exposes ``recognise(inputs, outputs, context) -> Decoder | None``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class FamilyContext:
    """What the model's file and the person say about decoding beyond the tensor table.

    ``labels``: one name per class, None where none is known. ``metadata_output_names``: the
    names that TFLite metadata gives the outputs, in output order, empty without metadata.
    ``decoder``: auto, tfjs or coral (PoseNet's rules). ``anchors``: float32[N, 4], (y centre,
    x centre, height, width) as fractions of the input, None where the model carries none.
    """

    labels: tuple[str, ...] | None = None
    metadata_output_names: tuple[str, ...] = ()
    decoder: str = "auto"
    anchors: NDArray[Any] | None = None
