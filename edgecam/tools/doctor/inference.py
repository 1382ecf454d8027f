"""What runs models here: the runtime, each model once, and the delegates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from edgecam.core.errors import DelegateError, ModelError
from edgecam.inference import catalog as bundled
from edgecam.inference.delegates import DelegateReport
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn

OPTIONAL_DELEGATES = ("edgetpu", "gpu", "nnapi")
REINSTALL = "pip install --force-reinstall --no-cache-dir {name} numpy"


def runtimes(settings: Settings) -> Iterator[Finding]:
    """Which runtime is used, whether it constructs and invokes, and which are there in vain."""
    del settings
    import numpy as np

    from edgecam.inference import runtime

    found = runtime.find()
    for said in runtime.survey()[1]:
        text, _, remedy = said.partition("; ")
        yield warn("runtime", text, remedy)
    text = f"{found.name} {found.version}, NumPy {np.__version__}"
    fault = _cannot_run()
    if fault is not None:
        text = f"{text}: does not run a model that is as it should be ({fault})"
        yield fail("runtime", text, REINSTALL.format(name=found.name))
    elif found.is_slow_in_integers:
        remedy = "give it float models, such as posenet-fp16; LiteRT alone is quick with both"
        slow = f"{text}: runs quantised models 10 to 27 times slower than LiteRT does"
        yield warn("runtime", slow, remedy)
    else:
        yield ok("runtime", f"{text}: constructs and invokes")


def _cannot_run() -> str | None:
    """Why no bundled model runs whose bytes are those of its card; None if one does."""
    fault = None
    for card in bundled.cards():
        try:
            bundled.verify(card, card.file.read_bytes())
            _probe(card.file, "cpu", 1)
        except (OSError, ModelError) as error:
            if "does not match its card" not in str(error):
                fault = str(error).partition("; ")[0].removeprefix(f"{card.file}: ")
        else:
            return None
    return fault


def _probe(path: Path, spec: str, threads: int) -> DelegateReport:
    from edgecam.inference import probe, runtime

    return probe.run(path, runtime.find(), (str(threads), "-", spec))


def _paths(settings: Settings) -> list[Path]:
    """The models of the settings, then those that are bundled."""
    named = [bundled.resolve(model.path) for model in settings.model]
    return list(dict.fromkeys((*named, *(card.file for card in bundled.cards()))))


def models(settings: Settings) -> Iterator[Finding]:
    """Every bundled model and every one of the settings: its SHA-256, and one invoke."""
    if not bundled.cards():
        remedy = "install edgecam again"
        yield fail("model", f"no bundled models in {bundled.directory()}", remedy)
    for path in _paths(settings):
        try:
            yield ok("model", _try(path, settings))
        except ModelError as error:
            text, _, remedy = str(error).rpartition("; ")
            yield fail("model", text or remedy, remedy if text else "fetch the file again")


def _try(path: Path, settings: Settings) -> str:
    from edgecam.inference.tflite.file import load, read

    data = load(path)
    card = bundled.card_of(path)
    if card is not None:
        bundled.verify(card, data)
    if read(data, str(path)).needs_edgetpu:
        library, fault = load_fault("edgetpu")
        if fault is not None:
            raise ModelError(
                f"{path.name}: compiled for the Edge TPU, but {library} does not load ({fault}); "
                "attach one and install libedgetpu1-std, or take the file for the CPU"
            )
        return f"{path.name}: for the Edge TPU, which runs it alone"
    started_s = time.monotonic()
    report = _probe(path, "cpu", settings.inference.threads or 1)
    took_s = time.monotonic() - started_s
    matches = "matches its card, " if card is not None else ""
    ran = f"{path.name}: {matches}loads and invokes ({took_s:.1f} s with start-up)"
    return f"{ran}, {taken(report)}"


def taken(report: DelegateReport) -> str:
    """How many of a model's nodes a delegate took."""
    if report.nodes is None:
        return f"{report.active}; this runtime does not tell how many nodes"
    return f"{report.active} takes {report.nodes_delegated or 0} of {report.nodes} nodes"


def load_fault(spec: str) -> tuple[str, str | None]:
    """The library that a delegate's name stands for, and why it does not load."""
    from edgecam.inference import runtime
    from edgecam.inference.delegates import LOAD_FAILURES, choose

    choice = choose(spec, needs_edgetpu=False)
    if choice.library is None:
        return "the runtime's own kernels", None
    try:
        runtime.find().delegate(choice.library, choice.options)
    except LOAD_FAILURES as error:
        return choice.library, str(error).strip() or type(error).__name__
    return choice.library, None


def delegates(settings: Settings) -> Iterator[Finding]:
    """Which delegates load, and how many nodes each takes; only that of the settings has to."""
    asked = settings.inference.delegate
    absent = []
    for spec in dict.fromkeys((asked, *OPTIONAL_DELEGATES)):
        library, fault = load_fault(spec)
        if spec in ("auto", "cpu"):
            yield ok("delegate", f"{spec}: {library}; see each model for its nodes")
        elif fault is None:
            yield from _took(spec, settings, spec == asked)
        elif spec == asked:
            remedy = "install it, or set inference.delegate to auto"
            yield fail("delegate", f"{spec}: {library} does not load ({fault})", remedy)
        else:
            absent.append(spec)
    if absent:
        yield ok("delegate", f"not installed, not asked for: {', '.join(absent)}")


def _took(spec: str, settings: Settings, asked: bool) -> Iterator[Finding]:
    """How many nodes a delegate that loads takes of each model that it is meant for."""
    level = fail if asked and settings.inference.delegate_required else warn
    count = len(settings.model) or 1
    for path in _paths(settings)[:count]:
        try:
            report = _probe(path, spec, settings.inference.threads or 1)
        except (ModelError, DelegateError) as error:
            text = f"{spec}: does not run {path.name}: {error}"
            yield level("delegate", text, "set inference.delegate to auto, or fix the delegate")
            continue
        if report.fallback is None:
            yield ok("delegate", f"{spec}: {taken(report)} of {path.name}")
        else:
            text = f"{spec}: {report.fallback}; {taken(report)} of {path.name}"
            remedy = "give it a model that is made for it, or set inference.delegate to auto"
            yield level("delegate", text, remedy)
