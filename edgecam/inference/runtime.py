"""Finds the TFLite runtime that is installed: the only file that imports one.

A tflite-runtime that works is taken first: elsewhere than on armv7l only the extra
``[tflite-runtime]`` installs it, so people who have it asked for it. Then LiteRT, the default: on
x86-64 it runs quantised models 10 to 27 times faster than tflite-runtime 2.14 does. Then
TensorFlow's own interpreter. A runtime that is installed and broken is passed over where another
one works.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.native_loading import check_room, loading

# Read by the runtimes when they are loaded: warnings and errors only on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

# (module with Interpreter and load_delegate, distributions that may hold it)
CANDIDATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tflite_runtime.interpreter", ("tflite-runtime",)),
    ("ai_edge_litert.interpreter", ("ai-edge-litert",)),
    ("tensorflow.lite", ("tensorflow", "tensorflow-cpu")),
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """An importable runtime: ``name`` and ``version`` of its distribution, and its module."""

    name: str
    version: str
    module: Any

    @property
    def is_slow_in_integers(self) -> bool:
        """Whether a float model is faster here than a quantised one.

        On x86-64 tflite-runtime 2.14 takes 10 to 27 times as long for int8 and uint8 as LiteRT 2.3
        does, and as long for float.
        """
        return self.name == "tflite-runtime" and platform.machine() == "x86_64"

    def interpreter(self, **arguments: Any) -> Any:
        """Construct the runtime's ``Interpreter``."""
        return self.module.Interpreter(**arguments)

    def without_default_delegates(self) -> dict[str, Any]:
        """Arguments for ``interpreter`` that keep XNNPACK out."""
        types = getattr(self.module, "OpResolverType", None)
        if types is None:
            types = self.module.experimental.OpResolverType
        return {"experimental_op_resolver_type": types.BUILTIN_WITHOUT_DEFAULT_DELEGATES}

    def delegate(self, library: str, options: dict[str, str]) -> Any:
        """Load an external delegate; raises OSError, ValueError or AttributeError."""
        # The runtimes' Delegate complains from its destructor where the library does not load
        # or is no delegate, so both are looked at first.
        loaded = ctypes.pydll.LoadLibrary(library)
        _ = loaded.tflite_plugin_create_delegate, loaded.tflite_plugin_destroy_delegate
        load = getattr(self.module, "load_delegate", None)
        if load is None:
            load = self.module.experimental.load_delegate
        return load(library, options)


def _version(folder: Path, distributions: tuple[str, ...]) -> tuple[str, str]:
    """The distribution that lies in ``folder``, and its version."""
    for name in distributions:
        # As its directory says it; importlib.metadata takes longer to import than this runtime.
        for info in folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
            return name, info.name.split("-")[1].removesuffix(".dist")
    import importlib.metadata

    for name in distributions:
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return distributions[0], "unknown"


def _open(module: str, distributions: tuple[str, ...]) -> Runtime | None:
    """Import one candidate; None where it is not installed.

    Raises:
        ModelError: it is installed and cannot be used here.
        AddressSpaceError: a limit of this process leaves it no room.
    """
    package = module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    name, version = _version(Path(spec.origin or "").parent.parent, distributions)
    if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        # It would import, and fail as soon as an interpreter is constructed.
        raise ModelError(
            f"tflite-runtime {version} needs NumPy below 2, found {np.__version__}; "
            "run: pip install 'numpy<2' 'opencv-python<4.12' (or pip uninstall tflite-runtime "
            "and install ai-edge-litert, where it has wheels)"
        )
    try:
        with loading(module):
            found = Runtime(name, version, importlib.import_module(module))
    except ImportError as error:
        raise ModelError(
            f"{name} {version} is installed but cannot be imported ({error}); reinstall it for "
            f"this Python and NumPy {np.__version__}"
        ) from None
    check_room()
    return found


@functools.cache
def survey() -> tuple[Runtime | None, tuple[str, ...]]:
    """The runtime to use, None where there is none, and what is wrong with those before it."""
    faults = []
    for module, distributions in CANDIDATES:
        try:
            found = _open(module, distributions)
        except ModelError as error:
            faults.append(str(error))
        else:
            if found is not None:
                return found, tuple(faults)
    return None, tuple(faults)


def find() -> Runtime:
    """The runtime to use.

    Raises:
        ModelError: none is installed, or those that are cannot be used here.
    """
    found, faults = survey()
    if found is not None:
        return found
    if faults:
        raise ModelError(faults[0])
    raise ModelError(
        "no TFLite runtime found; run: pip install ai-edge-litert (x86-64, aarch64) "
        "or pip install 'edgecam[tflite-runtime]' (armv7l)"
    )
