"""edgecam from Python: results of a source as an iterator, and of single pictures.

Prints nothing, handles no signal, publishes nothing and reads no ``EDGECAM_...`` variable; what
it has to say goes to the logger ``edgecam``.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgecam.analysis import Analysis
from edgecam.configuration import describe, load, nearest
from edgecam.pipeline import Pipeline
from edgecam.session import CLOSE_S, load_models, pipeline_for
from edgecam.settings import Settings
from edgecam.slots import Finished, Latest, Queue, Slot
from edgecam.sources import open_source
from edgecam.telemetry import Meter
from edgecam.types import Decoded, Frame, Image, Result, SettingsError, SourceError

Models = str | PathLike[str] | Sequence[str | PathLike[str]]
# How often the end is looked for while no result comes.
LOOK_S = 0.1

logging.getLogger("edgecam").addHandler(logging.NullHandler())


def _settings(
    model: Models | None,
    source: str | int | PathLike[str] | None,
    config: str | PathLike[str] | None,
    settings: Mapping[str, Any] | None,
) -> Settings:
    flags = dict(settings or {})
    known = [info.key for info in describe()]
    unknown = next((key for key in flags if key not in known), None)
    if unknown is not None:
        raise SettingsError(f"settings: unknown key {unknown!r}{nearest(unknown, known)}")
    if model is not None:
        several = [model] if isinstance(model, str | PathLike) else model
        flags["model.path"] = [fspath(each) for each in several]
    if source is not None:
        flags["source.url"] = str(source) if isinstance(source, int) else fspath(source)
    return load(None if config is None else Path(config), {}, flags)


class _HandOver:
    """The sink at the pipeline's end."""

    def __init__(self, slot: Slot[Result]) -> None:
        self._slot = slot

    def publish(self, result: Result) -> None:
        self._slot.put(result)

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        self._slot.finish()


def _close(pipeline: Pipeline, slot: Slot[Result]) -> None:
    slot.abort()
    pipeline.stop()
    pipeline.join(CLOSE_S)


class Results(Iterator[Result]):
    """Results as they come: all of a recording, in order; of a live source the newest each time.

    ``close``, the end of a ``with`` block, or letting go of it closes the source. Made by
    ``edgecam.results``.
    """

    def __init__(self, settings: Settings) -> None:
        self._stop = threading.Event()
        models = load_models(settings)
        source = open_source(settings.source, self._stop, settings.mqtt)
        self.live = source.live
        self._slot: Slot[Result] = Latest() if source.live else Queue(1)
        self._pipeline = pipeline_for(source, models)(
            source,
            models,
            [_HandOver(self._slot)],
            Meter(settings.telemetry.window_s, time.monotonic()),
            settings.decode.options,
            settings.max_frames,
            analyse=Analysis(
                settings,
                any(model.finds_poses for model in models),
                {model.name: 1.0 / model.rate_hz for model in models if model.rate_hz},
            ),
        )
        self._closer = weakref.finalize(self, _close, self._pipeline, self._slot)
        self._pipeline.start()

    def __next__(self) -> Result:
        """
        Raises:
            StopIteration: the source has ended, or this is closed.
            EdgecamError: a stage failed.
        """
        while self._closer.alive:
            # In this order: what was handed over before the end is still there.
            ended = self._pipeline.wait(0.0)
            try:
                result = self._slot.get(0.0 if ended else LOOK_S)
            except Finished:
                break
            if result is not None:
                return result
            if ended:
                self.close()
        raise StopIteration

    def close(self) -> None:
        """Stop and close the source; from any thread, as often as you like."""
        self._stop.set()
        self._closer()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def results(
    source: str | int | PathLike[str] | None = None,
    model: Models | None = None,
    *,
    config: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Results:
    """Open a source and models, and iterate over what is found, in source-frame pixels.

    ``source`` and ``model`` are what ``--source`` and ``--model`` take; of models a list, too.
    ``config`` is a settings file, of which outputs and broker are left alone. ``settings`` maps
    keys as in docs/settings.md to values: ``{"decode.score_threshold": 0.3}``; they beat the file,
    in which zones, lines and masks are written.

    Raises:
        EdgecamError: a setting is refused, or the source or a model does not open.
    """
    return Results(_settings(model, source, config, settings))


class Finder:
    """Finds what is in single pictures: ``Finder("posenet")(picture).poses``; one thread at a time.

    Nothing is tracked from picture to picture. Arguments and faults as of ``results``.
    """

    def __init__(
        self,
        model: Models | None = None,
        *,
        config: str | PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        loaded = _settings(model, None, config, settings)
        self._options = loaded.decode.options()
        self._models = [(each, each.buffer()) for each in load_models(loaded)]
        self._count = 0

    def __call__(self, image: Image | None) -> Result:
        """What is in ``image``: uint8[H, W, 3], BGR as OpenCV has it.

        Raises:
            SourceError: it is no such picture; None is what OpenCV makes of an unreadable file.
        """
        if image is None:
            raise SourceError("expected a picture, found None; does cv2.imread find the file?")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise SourceError(
                f"expected a picture uint8[H, W, 3] in BGR, found {image.dtype}"
                f"{list(image.shape)}; cv2.imread gives one"
            )
        picture = np.ascontiguousarray(image)
        frame = Frame(picture, self._count, time.monotonic(), time.time())
        self._count += 1
        found: dict[str, Decoded] = {}
        for model, buffer in self._models:
            staged = model.stage(frame, buffer)
            found[model.name] = model.decode(model.invoke(staged), staged, frame, self._options)
        return Result(frame, found)
