"""What is in one picture, with nothing followed from picture to picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from edgecam.core.frame import Frame, Image
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Result
from edgecam.inference.model import Model
from edgecam.pipeline.roi.inference_steps import (
    ModelRunner,
    PartialResult,
    invoke_only,
    run_steps,
)
from edgecam.settings.schema import Settings


class SingleLook:
    """Looks at single pictures with ``models``, which a run may use at the same time.

    ``options`` are asked for before each look.

    Raises:
        SettingsError: the models do not fit together.
    """

    def __init__(
        self, settings: Settings, models: Sequence[Model], options: Callable[[], DecodeOptions]
    ) -> None:
        self._options = options
        runners = [ModelRunner(place, model) for place, model in enumerate(models)]
        self._refining = None
        if any(model.refines or not model.publishes for model in models):
            # A run that refines no poses does not load it.
            from edgecam.pipeline.roi.refining import refining

            self._refining = refining(settings, runners)
        self._finders = [each for each in runners if not each.model.refines]
        self._may = [True] * len(runners)
        self._count = 0
        # The buffers that pictures are made in are shared by all looks.
        self._lock = threading.Lock()

    def __call__(self, image: Image) -> Result:
        """What is in ``image``: uint8[H, W, 3], BGR as OpenCV has it.

        Raises:
            ModelError: a model fails.
        """
        with self._lock:
            frame = Frame(np.ascontiguousarray(image), self._count, time.monotonic(), time.time())
            self._count += 1
            options, sight = self._options(), PartialResult()
            for each in self._finders:
                sight.add(each.name, run_steps(each.whole(frame, options), invoke_only))
            if self._refining is not None:
                self._refining.forget()
                run_steps(self._refining.add(sight, frame, self._may, live=False), invoke_only)
        return Result(frame, sight.found)
