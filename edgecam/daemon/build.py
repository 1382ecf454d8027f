"""Builder of a run: models, analysis, region-of-interest control and pipeline from settings.

The program, ``edgecam.results`` and ``edgecam bench`` all build here, so that a setting that one
obeys is obeyed by all.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecam.analysis.analyzer import Analysis
from edgecam.core.errors import SettingsError
from edgecam.core.protocols import DecodeOptions, Sink, Source
from edgecam.inference import catalog, runtime
from edgecam.inference.model import Model
from edgecam.inference.tflite import file as tflite
from edgecam.messages.label_names import topic_parts
from edgecam.pipeline.base import Pipeline
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.staged import StagedPipeline
from edgecam.settings.accuracy import chosen
from edgecam.settings.load import own_settings
from edgecam.settings.schema import ModelSettings, Settings
from edgecam.sinks import check_sinks
from edgecam.sources import kinds, serves_several

if TYPE_CHECKING:
    from edgecam.core.result import Result
    from edgecam.pipeline.roi.controller import RoiController
    from edgecam.pipeline.roi.turned_looks import TurnedLooks
    from edgecam.pipeline.turned_step import TurnedStep
    from edgecam.pipeline.turns import Turn

# Functions import what most runs have no use for.
log = logging.getLogger(__name__)


# A model that is loaded, by its file as it was then, its settings and how it runs.
Loaded = dict[tuple[Any, ...], Model]


def load_models(settings: Settings, loaded: Loaded | None = None) -> list[Model]:
    """Load every model of the settings, those of their accuracy where they name none.

    The one that refines is the last. What is in ``loaded`` is not loaded again but shared: cameras
    of one process look with the same interpreter.

    Raises:
        SettingsError: two have the same name, or two labels would share a topic.
        EdgecamError: one does not load.
    """
    settings, loaded = chosen(settings), {} if loaded is None else loaded
    models = [_load(model, settings, loaded) for model in settings.model]
    if settings.refine is not None:
        models.append(_load(ModelSettings(path=settings.refine), settings, loaded, refines=True))
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"model {twice!r} is given twice: results are named after the file")
    # Before anything is opened: two labels that would share a topic are refused.
    topic_parts(each for model in models for each in model.counted_classes)
    for model in models:
        if model.is_badly_placed:
            log.warning(
                "%s: %s %s takes 10 to 27 times as long for quantised models here; take a float "
                "one such as posenet-fp16, or pip install ai-edge-litert",
                model.name,
                *(runtime.find().name, runtime.find().version),
            )
    return models


def _load(model: ModelSettings, settings: Settings, loaded: Loaded, refines: bool = False) -> Model:
    inference, plugins = settings.inference, settings.plugins
    key = (*_state(catalog.resolve(model.path)), model, inference, plugins, refines)
    if key not in loaded:
        loaded[key] = Model(model, inference, plugins, refines)
    return loaded[key].at_most(settings.rate_hz)


def _state(path: Path) -> tuple[Any, ...]:
    """What differs once a file is another."""
    try:
        found = path.stat()
    except OSError:
        return (path,)
    return path, found.st_ino, found.st_size, found.st_mtime_ns


def _check(settings: Settings) -> None:
    """
    Raises:
        SettingsError: a place or a picture of one camera is asked for, and there are several; or
            recordings have nowhere to go.
    """
    if settings.plugins:
        from edgecam.core import plugins

        for name, struct in plugins.settings_types(settings.plugins).items():
            own_settings(name, settings, struct)
    if settings.recorder.enabled:
        from edgecam.sinks.recorder.folder import place

        place(settings.recorder, settings.name, os.environ)
    asked = {
        "zone": settings.zone,
        "line": settings.line,
        "mask": settings.mask,
        "crop.enabled": settings.crop.enabled,
        "motion.enabled": settings.motion.enabled,
        "snapshot.mode": settings.snapshot.mode != "off",
        "recorder.enabled": settings.recorder.enabled,
    }
    key = next((key for key, is_asked in asked.items() if is_asked), None)
    if key is not None and serves_several(settings.source):
        raise SettingsError(
            f"{key}: expected one camera, found the pictures of several, {settings.source.url}; "
            "drop it, or give the source one camera's topic"
        )


def check_settings(settings: Settings) -> None:
    """Refuse what a start would refuse, without a camera, a broker or an interpreter.

    Raises:
        EdgecamError: a setting, a model's file, the broker's login or the page's token will not do.
    """
    kinds.check(settings.source.url)
    _check(settings)
    # To ExecReload= systemd hands no credentials: what needs them is left to the start.
    with contextlib.suppress(PermissionError):
        check_sinks(settings)
    for model in chosen(settings).model:
        tflite.read(catalog.resolve(model.path))
    if settings.refine is not None:
        tflite.read(catalog.resolve(settings.refine))
    if settings.mqtt.url is not None:
        from edgecam.mqtt.address import parse_url
        from edgecam.mqtt.login import login

        parse_url(settings.mqtt.url)
        with contextlib.suppress(PermissionError):
            login(settings.mqtt, settings.name, None)


class RunPlan:
    """What one run of loaded models does with frames; made before anything is opened.

    ``analysis`` follows people over the results, ``turned`` makes the turned looks and ``roi`` says
    which part of a frame is looked at by which model, where that is asked for. ``pipeline`` makes
    the threads.

    Raises:
        EdgecamError: the settings contradict each other or the models.
    """

    def __init__(self, settings: Settings, models: Sequence[Model]) -> None:
        _check(settings)
        self._settings, self._models = settings, models
        self.roi = self._controller()
        self.analysis = Analysis(
            settings,
            any(model.finds_people for model in models),
            {model.name: 1.0 / model.rate_hz for model in models if model.rate_hz},
        )
        self.turned = self._turned_looks()

    def _controller(self) -> RoiController | None:
        """What a frame has shown decides how it, or the next one, is looked at, where asked for."""
        refines = any(model.refines or not model.publishes for model in self._models)
        if not (self._settings.motion.enabled or self._settings.crop.enabled or refines):
            return None
        from edgecam.pipeline.roi.controller import RoiController

        return RoiController(self._settings, self._models)

    def _turned_looks(self) -> TurnedLooks | None:
        finds_people = any(model.finds_people and not model.refines for model in self._models)
        if self._settings.turned_look_s == 0.0 or not finds_people:
            return None
        from edgecam.pipeline.roi.turned_looks import turned_looks

        return turned_looks(self._settings, self._models)

    def _turned_step(self) -> TurnedStep | None:
        if self.turned is None:
            return None
        from edgecam.pipeline.turned_step import TurnedStep

        return TurnedStep(self.turned, self.analysis.attention)

    def _analyse(self) -> Callable[[Result], Result]:
        if not any(model.for_crops and not model.refines for model in self._models):
            return self.analysis
        from edgecam.pipeline.crop_advice import CropAdvice

        return CropAdvice(self._models, self.analysis)

    def pipeline(
        self,
        source: Source,
        sinks: Sequence[Sink],
        meter: Meter,
        options: Callable[[], DecodeOptions],
        interval_s: Callable[[], float] = lambda: 0.0,
        paused: Callable[[], bool] = lambda: False,
        turn: Turn | None = None,
    ) -> Pipeline:
        """Return the pipeline from ``source`` to ``sinks``, not started; arguments as there."""
        return StagedPipeline(
            source,
            self._models,
            sinks,
            meter,
            options,
            self._settings.max_frames,
            interval_s,
            paused,
            self._analyse(),
            turn,
            roi=self.roi,
            turned=self._turned_step(),
        )
