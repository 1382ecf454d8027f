"""A decoder whose scores are calibrated as the model's publisher asks, see ``calibration``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor
from edgecam.inference.calibration import Calibration
from edgecam.inference.decoders.family import FamilyDecoder

# More than any model has; they are sorted and cut again after the calibration.
_ALL = 1_000_000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calibrated(FamilyDecoder):
    """A decoder of boxes or classes whose scores are calibrated before any is chosen."""

    decoder: Decoder
    calibration: Calibration

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Decode, map each score by the calibration, then apply the thresholds."""
        every = replace(options, score_threshold=0.0, max_detections=_ALL, top_k=_ALL)
        found = self.decoder(tensors, every)
        boxes = [replace(d, score=self.calibration(d.class_id, d.score)) for d in found.detections]
        boxes = [box for box in boxes if box.score >= options.score_threshold]
        boxes.sort(key=lambda box: -box.score)
        classes = [replace(c, score=self.calibration(c.class_id, c.score)) for c in found.classes]
        classes.sort(key=lambda each: -each.score)
        return replace(
            found,
            detections=tuple(boxes[: options.max_detections]),
            classes=tuple(classes[: options.top_k]),
        )


def calibrated(decoder: Decoder, calibration: Calibration) -> Calibrated:
    """Return the decoder of boxes or classes with calibrated scores."""
    return Calibrated(
        family=decoder.family,
        finds=decoder.finds,
        why=f"{decoder.why}; scores calibrated as its metadata says",
        outputs=decoder.outputs,
        size_step=decoder.size_step,
        rules=decoder.rules,
        skeleton=decoder.skeleton,
        fit=decoder.fit,
        normalization=decoder.normalization,
        labels=decoder.labels,
        decoder=decoder,
        calibration=calibration,
    )
