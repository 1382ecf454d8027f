"""edgecam from Python: results of a source as an iterator, and of single pictures.

Prints nothing, handles no signal, publishes nothing and reads no ``EDGECAM_...`` variable; what
it has to say goes to the logger ``edgecam``.
"""

from __future__ import annotations

import contextlib
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

from edgecam.core.errors import SettingsError, SourceError
from edgecam.core.frame import Image
from edgecam.core.queues import Finished, Latest, Queue, Slot
from edgecam.core.redaction import quoted
from edgecam.core.result import Result
from edgecam.daemon.build import RunPlan, load_models
from edgecam.daemon.session import CLOSE_S
from edgecam.pipeline.base import Pipeline
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.single_look import SingleLook
from edgecam.settings.load import describe, load
from edgecam.settings.messages import nearest
from edgecam.settings.schema import Settings
from edgecam.sources import open_source

Models = str | PathLike[str] | Sequence[str | PathLike[str]]
# How often the end is looked for while no result comes.
LOOK_S = 0.1

logging.getLogger("edgecam").addHandler(logging.NullHandler())


def _named(value: Any, what: str, expected: str) -> str:
    """A name or path as text.

    Raises:
        SettingsError: it is neither.
    """
    name = fspath(value) if isinstance(value, str | PathLike) else value
    if not isinstance(name, str):
        raise SettingsError(f"{what}: expected {expected}, found {value!r:.80}")
    return name


def _models(model: Any) -> list[str]:
    expected = "a model's name or path, such as 'posenet', or a list of them"
    several = model if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    if isinstance(model, bytes) or not several:
        raise SettingsError(f"model: expected {expected}, found {model!r:.80}")
    return [_named(each, "model", expected) for each in several]


def _given(settings: Any) -> dict[str, Any]:
    """Single settings as plain values.

    Raises:
        SettingsError: it is no mapping of known keys.
    """
    if not isinstance(settings, Mapping):
        example = "{'decode.score_threshold': 0.3}"
        raise SettingsError(
            f"settings: expected keys and values as in {example}, found {quoted(settings):.80}"
        )
    known = {info.key: info for info in describe()}
    for key in settings:
        if key not in known:
            raise SettingsError(f"settings: unknown key {key!r}{nearest(str(key), known)}")
        if known[key].in_file_alone:
            raise SettingsError(
                f"settings: expected {key} in a file given as config, found it here"
            )
    return {key: _plain(value) for key, value in settings.items()}


def _plain(value: Any) -> Any:
    """NumPy's numbers and paths as what a settings file could say."""
    if isinstance(value, np.generic):
        return value.item()
    return fspath(value) if isinstance(value, PathLike) else value


def _settings(
    model: Models | None,
    source: str | int | PathLike[str] | None,
    config: str | PathLike[str] | None,
    settings: Mapping[str, Any] | None,
) -> Settings:
    flags = {} if settings is None else _given(settings)
    if model is None and "model.path" in flags:
        model = flags["model.path"]
    if model is not None:
        flags["model.path"] = _models(model)
    if source is not None:
        is_index = isinstance(source, int) and not isinstance(source, bool)
        expected = "a camera's number, a path or a URL"
        flags["source.url"] = str(source) if is_index else _named(source, "source", expected)
    file = None if config is None else Path(_named(config, "config", "the path of a TOML file"))
    return load(file, {}, flags)


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
        plan = RunPlan(settings, load_models(settings))
        source = open_source(settings.source, self._stop, settings.mqtt, settings)
        self.live = source.live
        self._slot: Slot[Result] = Latest() if source.live else Queue(1)
        self._pipeline = plan.pipeline(
            source,
            [_HandOver(self._slot)],
            Meter(settings.telemetry.window_s, time.monotonic()),
            settings.decode.options,
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
            try:
                ended = self._pipeline.wait(0.0)
            except Exception:
                with contextlib.suppress(Finished):
                    if (last := self._slot.get(0.0)) is not None:
                        return last
                raise
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


class Predictor:
    """Finds what is in single pictures: ``Predictor("posenet")(picture).poses``.

    One thread at a time. Nothing is tracked from picture to picture. Arguments and faults are
    those of ``results``.
    """

    def __init__(
        self,
        model: Models | None = None,
        *,
        config: str | PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        loaded = _settings(model, None, config, settings)
        self._look = SingleLook(loaded, load_models(loaded), loaded.decode.options)

    def __call__(self, image: Image | None) -> Result:
        """What is in ``image``: uint8[H, W, 3], BGR as OpenCV has it.

        Raises:
            SourceError: it is no such picture; None is what OpenCV makes of an unreadable file.
        """
        if image is None:
            raise SourceError("expected a picture, found None; does cv2.imread find the file?")
        if not isinstance(image, np.ndarray):
            raise SourceError(
                f"expected a picture uint8[H, W, 3] in BGR, found {image!r:.60}; "
                "cv2.imread gives one"
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise SourceError(
                f"expected a picture uint8[H, W, 3] in BGR, found {image.dtype}"
                f"{list(image.shape)}; cv2.imread gives one"
            )
        return self._look(image)


# As it was called before 0.2.
Finder = Predictor
