"""Pictures for calibration: any source, through the preprocessing that the model runs with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Frame
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model, ModelImage
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source

PICTURES = 50


def pictures(source: Path | None, count: int = PICTURES) -> list[Frame]:
    """Frames spread evenly over a directory, glob or clip; of the bundled clip for None.

    ``count`` to twice as many of them, or all where there are fewer.

    Raises:
        SourceError: there is no picture.
    """
    where = bundled.clip() if source is None else source
    opened = open_source(SourceSettings(url=str(where)))
    kept: list[Frame] = []
    step = 1
    try:
        for frame in opened.frames():
            if frame.sequence % step:
                continue
            kept.append(frame)
            # The length of a clip is not known before its end: halve what was kept so far.
            if len(kept) == 2 * count:
                kept, step = kept[::2], 2 * step
    finally:
        opened.close()
    return kept


def tensors(model: Model, frames: Iterable[Frame]) -> Iterator[NDArray[np.float32]]:
    """Each frame as the model's input, float32[1, H, W, 3]."""
    buffer = model.buffer()
    shape = model.interpreter.inputs[0].shape
    for frame in frames:
        staged: ModelImage = model.preprocess(frame, buffer)
        tensor = np.empty(shape, np.float32)
        model.fill(staged.image, tensor[0])
        yield tensor
