"""Plain classification: one output [1, C] or [1, 1, 1, C], a probability or a logit per class.

Logits go through softmax. The best ``top_k`` classes are returned, the best first, whatever their
probability: which of them matter is for the reader to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Classification, Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, holds_probabilities
from edgecam.inference.labels import fit_with_background

LAYOUT = "classification: [1, C] or [1, 1, 1, C]"

# uint8 probabilities are each off by up to half a step; the sum of a thousand is off by this.
_SUM_TOLERANCE = 0.1

# Poolings, normalisations and activations that no classifier ends with.
_MAKES_FEATURES = frozenset(
    {"MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_NORMALIZATION"}
    | {"HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "PRELU", "LEAKY_RELU", "GELU"}
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classifier(FamilyDecoder):
    """``probabilities`` is None where only the values tell whether they are logits."""

    probabilities: bool | None
    family: str = "classifier"
    finds: Finds = "classes"
    # Of 108 COCO pictures MobileNetV2 names 84 right among five by their centre square, 81
    # stretched and 76 letterboxed.
    fit: str = "crop"

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the best classes, the best first."""
        values = np.asarray(tensors[0], np.float64).ravel()
        if not np.isfinite(values).all():
            return Decoded()
        known = self.probabilities
        if known is None:
            known = values.min() >= 0.0 and abs(values.sum() - 1.0) < _SUM_TOLERANCE
        if not known:
            values = np.exp(values - values.max())
            values /= values.sum()
        best = np.argsort(-values, kind="stable")[: options.top_k].tolist()
        return Decoded(
            classes=tuple(Classification(self._label(i), i, float(values[i])) for i in best)
        )

    def _label(self, number: int) -> str:
        return self.labels[number] if self.labels is not None else f"class_{number}"


def _features(output: TensorInfo, context: FamilyContext) -> str | None:
    """What tells that an output is a feature vector and not a score for each class, if anything.

    A network's scores are made by its last weights, and perhaps a softmax or sigmoid behind them.
    """
    name = context.output_name(0, output)
    if any(word in name for word in ("feature", "embedding")):
        return f"it is called {name!r}"
    op = context.output_op(0)
    return f"made by {op}" if op in _MAKES_FEATURES else None


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if a picture goes in and one row of at least two classes comes out.

    Raises:
        ModelError: it is a classifier, but the labels do not fit; or it gives features of a
            picture and no classes are named.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(outputs) != 1:
        return None
    shape = outputs[0].shape
    if shape[-1:] < (2,) or shape[:-1] not in ((1,), (1, 1, 1)):
        return None
    if context.labels is None and (made_by := _features(outputs[0], context)):
        raise ModelError(
            f"the model's output {outputs[0].name!r} {list(shape)} is a picture's features "
            f"({made_by}), as an embedding or feature extractor gives them, and no scores of "
            "classes; take the whole classifier, or give its labels with --labels if it is one"
        )
    probabilities = holds_probabilities(outputs[0], context.output_op(0))
    form = {True: "probabilities", False: "logits", None: "by value"}[probabilities]
    names = context.labels
    if names is not None:
        names = fit_with_background(names, shape[-1], f"output {outputs[0].name!r}")
    return Classifier(
        why=f"one output {list(shape)}, {form}",
        labels=names,
        probabilities=probabilities,
        fit=context.fit or "crop",
    )
