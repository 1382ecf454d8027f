"""Finds the TFLite runtime that is installed: the only file that imports one.

LiteRT is preferred: on x86-64 it runs quantised models 10 to 27 times faster than
tflite-runtime 2.14 does. TensorFlow's own interpreter serves where neither is there.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.metadata
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecam.types import ModelError

# Read by the runtimes when they are loaded: warnings and errors only on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

# (module with Interpreter and load_delegate, distributions that may hold it)
CANDIDATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ai_edge_litert.interpreter", ("ai-edge-litert",)),
    ("tflite_runtime.interpreter", ("tflite-runtime",)),
    ("tensorflow.lite", ("tensorflow", "tensorflow-cpu")),
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """An importable runtime: ``name`` and ``version`` of its distribution, and its module."""

    name: str
    version: str
    module: Any

    def interpreter(self, **arguments: Any) -> Any:
        """Construct the runtime's ``Interpreter``."""
        return self.module.Interpreter(**arguments)

    def delegate(self, library: str, options: dict[str, str]) -> Any:
        """Load an external delegate; raises OSError, ValueError or AttributeError."""
        # The runtimes' Delegate complains from its destructor where the library does not load.
        ctypes.pydll.LoadLibrary(library)
        load = getattr(self.module, "load_delegate", None)
        if load is None:
            load = self.module.experimental.load_delegate
        return load(library, options)


def _version(distributions: tuple[str, ...]) -> tuple[str, str]:
    for name in distributions:
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return distributions[0], "unknown"


def _import(module: str) -> Any | None:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        raise ModelError(
            f"{module} is installed but cannot be imported ({error}); reinstall it for this "
            f"Python and NumPy {np.__version__}"
        ) from None


@functools.cache
def find() -> Runtime:
    """The best runtime that is installed.

    Raises:
        ModelError: none is installed, or tflite-runtime stands beside NumPy 2, under which it
            imports but fails as soon as an interpreter is constructed.
    """
    for module, distributions in CANDIDATES:
        found = _import(module)
        if found is None:
            continue
        name, version = _version(distributions)
        if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            raise ModelError(
                f"tflite-runtime {version} needs NumPy below 2, found {np.__version__}; "
                "run: pip install 'numpy<2' 'opencv-python<4.12' (or install ai-edge-litert)"
            )
        return Runtime(name, version, found)
    raise ModelError(
        "no TFLite runtime found; run: pip install ai-edge-litert (x86-64, aarch64) "
        "or pip install 'edgecam[tflite-runtime]' (armv7l)"
    )
