"""What runs models here: the runtime, each model once, the delegates and an Edge TPU."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from pathlib import Path

from edgecam import bundled
from edgecam.doctor.finding import Finding, fail, ok, warn
from edgecam.settings import Settings
from edgecam.types import ModelError

USB_DEVICES = Path("/sys/bus/usb/devices")
# Coral's USB accelerator before its firmware is loaded, and after.
EDGETPU_USB = {("1a6e", "089a"): "not yet woken", ("18d1", "9302"): "awake"}
EDGETPU_PCIE = Path("/dev/apex_0")
EDGETPU_REMEDY = "install libedgetpu1-std from Coral's Debian repository"
OPTIONAL_DELEGATES = ("edgetpu", "gpu", "nnapi")


def runtimes(settings: Settings) -> Iterator[Finding]:
    """Which runtime is used, and which are installed in vain."""
    del settings
    import numpy as np

    from edgecam import runtime

    found = runtime.find()
    for fault in runtime.survey()[1]:
        text, _, remedy = fault.partition("; ")
        yield warn("runtime", text, remedy)
    text = f"{found.name} {found.version}, NumPy {np.__version__}"
    if found.name == "tflite-runtime" and platform.machine() == "x86_64":
        remedy = "pip uninstall tflite-runtime, unless you want it for comparison"
        yield warn("runtime", f"{text}: runs quantised models 10 to 27 times slower", remedy)
    else:
        yield ok("runtime", text)


def models(settings: Settings) -> Iterator[Finding]:
    """Every bundled model and every one of the settings: its SHA-256, and one invoke."""
    paths = [card.file for card in bundled.cards()]
    if not paths:
        remedy = "install edgecam again"
        yield fail("model", f"no bundled models in {bundled.directory()}", remedy)
    for model in settings.model:
        path = bundled.resolve(model.path)
        if path not in paths:
            paths.append(path)
    for path in paths:
        try:
            yield ok("model", _try(path, settings))
        except ModelError as error:
            text, _, remedy = str(error).rpartition("; ")
            yield fail("model", text or remedy, remedy if text else "fetch the file again")


def _try(path: Path, settings: Settings) -> str:
    from edgecam import probe, runtime
    from edgecam.tflite_file import read

    file = read(path)
    card = bundled.card_of(path)
    if card is not None:
        bundled.verify(card, file.data)
    if file.needs_edgetpu:
        return f"{path.name}: for the Edge TPU, which runs it alone"
    started_s = time.monotonic()
    probe.run(path, runtime.find(), (str(settings.inference.threads or 1), "-", "cpu"))
    took_s = time.monotonic() - started_s
    matches = "matches its card, " if card is not None else ""
    return f"{path.name}: {matches}loads and invokes ({took_s:.1f} s with start-up)"


def _load_fault(spec: str) -> tuple[str, str | None]:
    """The library that a delegate's name stands for, and why it does not load."""
    from edgecam import runtime
    from edgecam.delegates import LOAD_FAILURES, choose

    choice = choose(spec, needs_edgetpu=False)
    if choice.library is None:
        return "the runtime's own kernels", None
    try:
        runtime.find().delegate(choice.library, choice.options)
    except LOAD_FAILURES as error:
        return choice.library, str(error).strip() or type(error).__name__
    return choice.library, None


def delegates(settings: Settings) -> Iterator[Finding]:
    """Which delegates load; only the one that the settings name has to."""
    asked = settings.inference.delegate
    absent = []
    for spec in dict.fromkeys((asked, *OPTIONAL_DELEGATES)):
        library, fault = _load_fault(spec)
        if fault is None:
            yield ok("delegate", f"{spec}: {library} loads")
        elif spec == asked:
            remedy = "install it, or set inference.delegate to auto"
            yield fail("delegate", f"{spec}: {library} does not load ({fault})", remedy)
        else:
            absent.append(spec)
    if absent:
        yield ok("delegate", f"not installed, not asked for: {', '.join(absent)}")


def attached_edgetpu(usb_devices: Path = USB_DEVICES, pcie: Path = EDGETPU_PCIE) -> str | None:
    """Where an Edge TPU is attached, None where there is none."""
    for device in sorted(usb_devices.glob("*")):
        try:
            ids = tuple((device / name).read_text().strip() for name in ("idVendor", "idProduct"))
        except OSError:
            continue
        state = EDGETPU_USB.get((ids[0], ids[1]))
        if state is not None:
            return f"on USB ({state})"
    return f"on PCIe ({pcie})" if pcie.exists() else None


def edgetpu(settings: Settings) -> Iterator[Finding]:
    """Whether an Edge TPU is attached and its library loads."""
    del settings
    place = attached_edgetpu()
    library, fault = _load_fault("edgetpu")
    if place is None:
        yield ok("edge tpu", "none attached")
    elif fault is not None:
        text = f"attached {place}, but {library} does not load ({fault})"
        yield warn("edge tpu", text, EDGETPU_REMEDY)
    else:
        yield ok("edge tpu", f"attached {place}, {library} loads")
