"""What is learnt: features of every picture, a head fitted to them, and how good it is."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.train.head import dense, graft, softmax
from edgecam.tools.train.head.backbone import Backbone
from edgecam.tools.train.head.dense import Network
from edgecam.tools.train.head.graft import Head
from edgecam.tools.train.head.softmax import Classifier, Floats, Integers
from edgecam.tools.train.labelled_images import check_count, held_out

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
_AGREEMENT = 1e-3  # of a probability, between NumPy's float64 and the runtime


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """``confusion``: int64[K, K] of held-out pictures, a row for each true label.

    ``classifier`` is fitted to all ``pictures``; what is said of held-out ones is of another that
    never saw them. ``layer`` is the place of its map in the backbone's, ``strength`` that of the
    penalty on large weights; both were chosen without the held-out pictures.
    """

    classifier: Classifier | Network
    confusion: Integers
    pictures: int
    layer: int
    strength: float

    @property
    def held_out(self) -> int:
        """Number of pictures that were not learnt from."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of held-out pictures whose label is the most probable one, 0..1."""
        return float(np.trace(self.confusion)) / self.held_out


class Lesson:
    """Takes pictures with their labels and keeps their features.

    ``size``: (height, width) of the input, None for the backbone's own. ``hidden``: units of each
    dense layer before the last; a step of learning leaves the share ``dropout`` (0..1) of them out.

    Raises:
        EdgecamError: the backbone does not fit that size, or does not run.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int] | None,
        inference: InferenceSettings,
        labels: Sequence[str],
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        self.labels = tuple(labels)
        self._hidden, self._dropout = tuple(hidden), dropout
        self._backbone, self._size, self._inference = backbone, size, inference
        self._model = self._opened(graft.features(backbone, size))
        self._buffer = self._model.buffer()
        self._rows: list[Floats] = []
        self._classes: list[int] = []
        self._shown: dict[int, tuple[Frame, Floats]] = {}

    def _opened(self, data: bytes) -> Model:
        """The model as edgecam runs it: what it sees here is what it will see."""
        with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(data)
            return Model(ModelSettings(path=str(path)), self._inference)

    def add(self, number: int, frame: Frame) -> None:
        """Learn that ``frame`` shows the label of that number."""
        staged = self._model.preprocess(frame, self._buffer)
        (features,) = self._model.dequantised(self._model.invoke(staged))
        row = features.ravel().astype(np.float64)
        self._rows.append(row)
        self._classes.append(number)
        self._shown[number] = (frame, row)

    def learn(self, where: str) -> Outcome:
        """Fit the head; ``where`` the pictures are from, for messages.

        Raises:
            TeachError: a label has too few pictures that could be read.
        """
        rows, classes = np.array(self._rows), np.array(self._classes, np.int64)
        count = len(self.labels)
        for number, label in enumerate(self.labels):
            check_count(label, int((classes == number).sum()), where)
        out = held_out(classes)
        layer, strength = self._choice(rows[~out], classes[~out])
        features = self._of_layer(rows, layer)
        judged = self._fit(features[~out], classes[~out], strength)
        found = judged.probabilities(features[out]).argmax(axis=1)
        confusion = np.zeros((count, count), np.int64)
        np.add.at(confusion, (classes[out], found), 1)
        classifier = self._fit(features, classes, strength)
        return Outcome(classifier, confusion, len(rows), layer, strength)

    def _fit(self, features: Floats, classes: Integers, strength: float) -> Classifier | Network:
        if self._hidden:
            return dense.fit(features, classes, len(self.labels), self._hidden, self._dropout)
        return softmax.fit(features, classes, len(self.labels), strength)

    def _choice(self, rows: Floats, classes: Integers) -> tuple[int, float]:
        """The layer and the strength that do best on pictures left out of these."""

        def loss(layer: int, strength: float) -> float:
            features = self._of_layer(rows, layer)
            return softmax.left_out_loss(features, classes, len(self.labels), strength)

        layers = range(len(self._backbone.maps))
        layer = min(layers, key=lambda layer: loss(layer, _STRENGTHS[-2])) if layers[1:] else 0
        return layer, min(_STRENGTHS, key=lambda strength: loss(layer, strength))

    def _of_layer(self, rows: Floats, layer: int) -> Floats:
        ends = np.cumsum([0, *(tensor.shape[-1] for tensor in self._backbone.maps)])
        return rows[:, ends[layer] : ends[layer + 1]]

    def model(self, outcome: Outcome, description: str) -> bytes:
        """Return the .tflite, after it has given the fitted probabilities in the runtime.

        Raises:
            ConvertError: it gives others.
        """
        learnt = outcome.classifier
        layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in learnt.layers]
        head = Head(outcome.layer, self.labels, layers)
        data = graft.classifier(self._backbone, self._size, head, description)
        model = self._opened(data)
        for frame, row in self._shown.values():
            staged = model.preprocess(frame, model.buffer())
            decoded = model.decode(model.invoke(staged), staged, frame, _ALL)
            found = {item.label: item.score for item in decoded.classes}
            expected = dict(
                zip(
                    self.labels,
                    learnt.probabilities(self._of_layer(row[None], outcome.layer))[0],
                    strict=True,
                )
            )
            furthest = max(abs(found[label] - expected[label]) for label in self.labels)
            if furthest > _AGREEMENT:
                raise ConvertError(
                    f"the model gives probabilities that differ by {furthest:.3g} from those "
                    f"fitted, expected {_AGREEMENT:g} at most; take another backbone"
                )
        return data


_ALL = DecodeOptions(top_k=1_000_000)
