"""One model in one interpreter: load, resize, fill the input, invoke, read named outputs.

Quantised outputs are dequantised here and nowhere else.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import DelegateError, ModelError
from edgecam.core.frame import Image
from edgecam.core.native_stderr import without_info
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.delegates import (
    DELEGATE_OP,
    LOAD_FAILURES,
    DelegateChoice,
    DelegateReport,
    delegated_nodes,
)
from edgecam.inference.runtime import Runtime

if TYPE_CHECKING:
    from edgecam.inference.preprocess import Fill


def _info(detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    return TensorInfo(
        index=int(detail["index"]),
        name=str(detail["name"]),
        shape=tuple(int(side) for side in detail["shape"]),
        dtype=np.dtype(detail["dtype"]),
        scale=float(scale) if scale else None,
        zero_point=int(zero_point) if scale else None,
    )


def _reason(error: Exception) -> str:
    """The runtime's words as one line, without its links to instructions."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and "See instructions" not in line)


def dequantised(values: NDArray[Any], info: TensorInfo) -> NDArray[np.float32]:
    """``float32(value - zero_point) * float32(scale)``; floats are returned as float32."""
    if info.scale is None or info.zero_point is None:
        return values.astype(np.float32, copy=False)
    real = values.astype(np.float32)
    real -= np.float32(info.zero_point)
    real *= np.float32(info.scale)
    return real


def is_finite(values: NDArray[Any]) -> bool:
    """Whether an output holds neither NaN nor infinity; integers never do."""
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _check_scales(name: str, tensors: Sequence[TensorInfo]) -> None:
    """
    Raises:
        ModelError: an integer of a tensor would stand for no number.
    """
    for info in tensors:
        if info.scale is None or info.dtype.kind not in "iu":
            continue
        span = float(np.iinfo(info.dtype).max) - float(np.iinfo(info.dtype).min)
        if not abs(info.scale) * span < float(np.finfo(np.float32).max):
            raise ModelError(
                f"{name}: expected a scale of numbers for its tensor {info.name!r}, found "
                f"{info.scale:g}; the file is damaged, fetch it again"
            )


# Those that a delegate of a library runs, as long as they live.
_delegated: weakref.WeakKeyDictionary[Interpreter, str] = weakref.WeakKeyDictionary()


def held_libraries() -> frozenset[str]:
    """Return the libraries whose delegates run a model of this process."""
    return frozenset(_delegated.values())


class Interpreter:
    """A loaded model of one picture input.

    ``data``: the model file's bytes. ``input_size``: (height, width) to resize the input to
    before tensors are allocated, None to keep the file's.

    ``delegated``: the nodes that a delegate runs, None where the runtime does not tell.

    Raises:
        ModelError: the runtime refuses the model, the input cannot take that size, or a tensor
            is quantised with a scale that makes no numbers.
        DelegateError: ``required`` is set and the delegate does not load or take the model.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        runtime: Runtime,
        threads: int,
        choice: DelegateChoice,
        *,
        input_size: tuple[int, int] | None = None,
        required: bool = False,
    ) -> None:
        self.name = name
        self._runtime = runtime
        # The runtime reads weights from these bytes for as long as it lives.
        self._data = data
        self._threads = threads
        self._input_size = input_size
        self.delegated: frozenset[int] | None = None
        self.delegate = self._load(choice, required)
        self.inputs = tuple(map(_info, self._interpreter.get_input_details()))
        self.outputs = tuple(map(_info, self._interpreter.get_output_details()))
        _check_scales(name, (*self.inputs, *self.outputs))
        self._input = self._interpreter.tensor(self.inputs[0].index)
        # Or what lay in the memory decides how the first invoke ends, and how long it takes.
        self._input()[...] = 0

    def _load(self, choice: DelegateChoice, required: bool) -> DelegateReport:
        fallback = None
        if choice.library is not None:
            try:
                self._delegate_to(choice.library, choice.options)
            except (*LOAD_FAILURES, ModelError) as error:
                # The loader's own words begin with the library already.
                reason = _reason(error).removeprefix(f"{choice.library}: ")
                fallback = f"{choice.library}: {reason}"
                if required:
                    raise DelegateError(
                        f"delegate {choice.requested} does not run {self.name} ({fallback}); "
                        "fix it, or drop --delegate-required to fall back to the CPU",
                        fallback,
                    ) from None
            else:
                _delegated[self] = choice.library
                return self._report(choice.requested, choice.library.rpartition("/")[2], None)
        self._allocate(None)
        return self._report(choice.requested, None, fallback)

    def _delegate_to(self, library: str, options: dict[str, str]) -> None:
        """Raise ValueError where the delegate leaves every node to the CPU.

        The runtime then says nothing and its own XNNPACK takes them, so this is tried without.
        One that takes them all has no use for XNNPACK and stays; another is closed before it is
        opened again, for there are devices that can be opened but once.
        """
        without = self._runtime.without_default_delegates()
        self._allocate([self._runtime.delegate(library, options)], **without)
        if self._partitions() == 0:
            raise ValueError(f"it takes none of the nodes of {self.name}")
        if not self._is_delegated_whole():
            del self._interpreter
            self._allocate([self._runtime.delegate(library, options)])

    def _is_delegated_whole(self) -> bool:
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None:
            return False
        ops = details()
        return bool(len(delegated_nodes(ops)) == sum(op["op_name"] != DELEGATE_OP for op in ops))

    def _partitions(self) -> int | None:
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None:
            return None
        return int(sum(op["op_name"] == DELEGATE_OP for op in details()))

    def _allocate(self, delegates: list[Any] | None, **arguments: Any) -> None:
        try:
            # A delegate's own words may be the last before it ends the process.
            with nullcontext() if delegates else without_info():
                interpreter = self._runtime.interpreter(
                    model_content=self._data,
                    num_threads=self._threads,
                    experimental_delegates=delegates,
                    **arguments,
                )
                if self._input_size is not None:
                    self._resize(interpreter, self._input_size)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self.name}: {self._runtime.name} {self._runtime.version} cannot load it: "
                f"{_reason(error)}"
            ) from None
        self._interpreter = interpreter

    @staticmethod
    def _resize(interpreter: Any, size: tuple[int, int]) -> None:
        detail = interpreter.get_input_details()[0]
        shape = [int(side) for side in detail["shape"]]
        if tuple(shape[1:3]) != size:
            interpreter.resize_tensor_input(detail["index"], [shape[0], *size, *shape[3:]])

    def _report(self, requested: str, active: str | None, fallback: str | None) -> DelegateReport:
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None:
            return DelegateReport(requested, active or "cpu", fallback=fallback)
        ops = details()
        self.delegated = delegated_nodes(ops)
        partitions = sum(op["op_name"] == DELEGATE_OP for op in ops)
        if active is None:
            active = "xnnpack" if partitions else "cpu"
        return DelegateReport(
            requested, active, len(self.delegated), len(ops) - partitions, fallback, partitions
        )

    def fill(self, staged: Image, fill: Fill) -> None:
        """Write ``staged`` (uint8[H, W, 3], RGB) into the input tensor."""
        # The view must be gone before the next invoke: the runtime checks for it.
        fill(staged, self._input()[0])

    @property
    def threads(self) -> int:
        """Inference threads that it was asked for."""
        return self._threads

    def read_input(self) -> Tensor:
        """Return a copy of the picture as it was filled in, in its own type."""
        return np.array(self._input())

    def invoke(self) -> None:
        """Run the model on what was filled in; releases the GIL.

        Raises:
            ModelError: a node fails.
        """
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.name}: invoke failed: {_reason(error)}") from None

    def read(self, outputs: Sequence[int]) -> list[Tensor]:
        """Copies of the outputs at these places in ``self.outputs``, in their own type.

        Raises:
            ModelError: one of them holds NaN or infinity, which a decoder would take for no people.
        """
        infos = [self.outputs[place] for place in outputs]
        tensors = [self._interpreter.get_tensor(info.index) for info in infos]
        for info, tensor in zip(infos, tensors, strict=True):
            self._check(tensor, info.name)
        return tensors

    def check_within(self, tensors: Mapping[int, str]) -> None:
        """Look into tensors that are no outputs, by index and name, as ``read`` does into those.

        Raises:
            ModelError: as ``read``.
        """
        for index, name in tensors.items():
            try:
                values = self._interpreter.get_tensor(index)
            except ValueError:
                # A delegate keeps it to itself.
                continue
            self._check(values, name)

    def _check(self, values: NDArray[Any], tensor: str) -> None:
        if not is_finite(values):
            raise ModelError(
                f"{self.name}: expected numbers in its output {tensor!r}, found NaN or infinity, "
                f"on {self.delegate.active}; try --delegate cpu, or the model in another precision"
            )

    def dequantised(
        self, outputs: Sequence[int], tensors: Sequence[Tensor]
    ) -> list[NDArray[np.float32]]:
        """What ``read`` returned for the same ``outputs``, as float32."""
        infos = [self.outputs[place] for place in outputs]
        return [dequantised(tensor, info) for tensor, info in zip(tensors, infos, strict=True)]
