"""Which delegate runs a model: what was asked for, what loads, and why it fell back.

A delegate's own failure to load comes as OSError (no such library), ValueError (it refuses the
options or the device) or AttributeError (a library that is no delegate).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecam.core.errors import DelegateError

EDGETPU_LIBRARIES = {"Darwin": "libedgetpu.1.dylib", "Windows": "edgetpu.dll"}
LOAD_FAILURES = (OSError, ValueError, AttributeError, RuntimeError)
# What the runtime calls the node that stands for a partition that a delegate took.
DELEGATE_OP = "DELEGATE"
NAMES = ("auto", "cpu", "edgetpu", "gpu", "nnapi")


@dataclass(frozen=True, slots=True)
class DelegateChoice:
    """What to load: ``library`` is None for the runtime's own kernels (XNNPACK among them)."""

    requested: str
    library: str | None
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class DelegateReport:
    """What really runs a model.

    ``active`` is xnnpack, cpu (the runtime's plain kernels), or the external delegate's name;
    ``nodes_delegated`` of ``nodes`` run on it in ``partitions``, None where the runtime does not
    tell. ``fallback`` says why something else runs than was asked for.
    """

    requested: str
    active: str
    nodes_delegated: int | None = None
    nodes: int | None = None
    fallback: str | None = None
    partitions: int | None = None


def delegated_nodes(ops: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    """Return the indices of the nodes that run inside delegates.

    ``ops`` is the runtime's list: the model's own nodes first, then one node for each partition,
    with its inputs and outputs. What lies between those is the partition.
    """
    maker = {
        int(tensor): op for op in ops if op["op_name"] != DELEGATE_OP for tensor in op["outputs"]
    }
    taken: set[int] = set()
    for partition in ops:
        if partition["op_name"] != DELEGATE_OP:
            continue
        reached = {int(tensor) for tensor in partition["inputs"]}
        open_ends = [int(tensor) for tensor in partition["outputs"]]
        while open_ends:
            tensor = open_ends.pop()
            if tensor in reached or tensor not in maker:
                continue
            reached.add(tensor)
            taken.add(int(maker[tensor]["index"]))
            open_ends += [int(source) for source in maker[tensor]["inputs"]]
    return frozenset(taken)


def _options(text: str, spec: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    wrong = next((key for key, equals, _ in pairs if not key or not equals), None)
    if wrong is not None:
        raise DelegateError(
            f"delegate {spec!r}: expected PATH:key=value,..., found the option {wrong!r}"
        )
    return {key: value for key, _, value in pairs}


def _edgetpu() -> str:
    return EDGETPU_LIBRARIES.get(platform.system(), "libedgetpu.so.1")


def _library(name: str) -> str:
    if name == "edgetpu":
        return _edgetpu()
    stem = {"gpu": "tensorflowlite_gpu_delegate", "nnapi": "nnapi_delegate"}[name]
    # It imports subprocess and tempfile.
    from ctypes.util import find_library

    return find_library(stem) or f"lib{stem}.so"


def choose(spec: str, needs_edgetpu: bool) -> DelegateChoice:
    """Read ``auto|cpu|edgetpu|gpu|nnapi|PATH[:key=value,...]``.

    ``auto`` takes the Edge TPU for a model that was compiled for it and otherwise the runtime's
    own kernels.

    Raises:
        DelegateError: the text is none of these.
    """
    name, colon, rest = spec.partition(":")
    options = _options(rest, spec) if colon else {}
    if name == "auto":
        name = "edgetpu" if needs_edgetpu else "cpu"
    if name == "cpu":
        return DelegateChoice(spec, None, {})
    if name in NAMES:
        return DelegateChoice(spec, _library(name), options)
    if "/" not in name and ".so" not in name:
        raise DelegateError(
            f"delegate {spec!r}: expected one of {', '.join(NAMES)} or the path of a shared "
            "library, optionally followed by :key=value,..."
        )
    return DelegateChoice(spec, name, options)
