"""Time per operation on this board: every node of a model alone, in turns with the whole.

Neither LiteRT's nor tflite-runtime's Python interface has a profiler, so the model is cut: each
node stands alone in an interpreter of its own, fed with what reaches it in the whole model. The
nodes run one behind the other as they do there, so that each finds the caches as cold.
"""

from __future__ import annotations

import mmap
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from edgecam.core.frame import Frame
from edgecam.core.native_stderr import without_info
from edgecam.core.tensors import Normalization
from edgecam.inference import runtime
from edgecam.inference.delegates import DelegateChoice, choose, delegated_nodes
from edgecam.inference.interpreter import Interpreter
from edgecam.inference.opening import open_file
from edgecam.inference.preprocess import Resizer, filler
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.cut import Alone
from edgecam.inference.tflite.file import ModelFile

_USUAL = Normalization((127.5,) * 3, (127.5,) * 3)
_FAILURES = (ValueError, RuntimeError, TypeError, KeyError)
_WARM_SWEEPS = 2


class NodeTime(msgspec.Struct, frozen=True):
    """One node: milliseconds of one invoke and its share of all nodes' (0..1), None if unknown.

    ``name`` and ``shape`` are its first output's; ``delegate`` is what takes it in the whole model.
    """

    node: int
    op: str
    name: str
    shape: tuple[int, ...]
    delegate: str
    ms: float | None
    share: float | None


class OperatorTime(msgspec.Struct, frozen=True):
    """All nodes of one operator on one delegate: milliseconds of one invoke, and share (0..1)."""

    op: str
    nodes: int
    delegate: str
    ms: float
    share: float


class OpTimes(msgspec.Struct, frozen=True):
    """What each operation costs; times are the shortest of ``sweeps``, in milliseconds:
    what else runs here only ever adds.

    ``whole_ms`` is an invoke of the whole model, ``sum_ms`` of all nodes alone, each without the
    ``call_ms`` that an interpreter without a node takes. ``once``: nodes that only unpack weights,
    and run when the model is loaded. ``notes``: what could not be measured, and why.
    """

    model: str
    input: str
    runtime: str
    delegate: str
    threads: int
    sweeps: int
    whole_ms: float
    sum_ms: float
    call_ms: float
    operators: tuple[OperatorTime, ...]
    nodes: tuple[NodeTime, ...]
    once: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Timed:
    """A node's own interpreter; ``times_s`` of its invokes."""

    node: int
    interpreter: Any
    times_s: list[float]


def measure(
    file: ModelFile,
    frame: Frame,
    delegate: str,
    threads: int,
    size: tuple[int, int] | None,
    sweeps: int,
) -> OpTimes:
    """Time every node of a model of one picture, of a known family or not.

    ``frame`` fills its picture; ``size`` is the (height, width) to resize that to, None to keep
    the file's.

    Raises:
        ModelError, DelegateError: as ``open_file``.
    """
    choice = choose(delegate, file.needs_edgetpu)
    whole = open_file(file, threads, size, choice, required=False)
    _fill(whole, file, frame)
    found = _values(whole, file, size)
    once = _run_once(file)
    taken = whole.delegated
    asked = [node for node in range(len(file.main.ops)) if node not in once]
    with tempfile.NamedTemporaryFile(prefix=".edgecam-") as cut:
        cut.truncate(Alone.size(file))
        with mmap.mmap(cut.fileno(), Alone.size(file)) as data:
            cutter = _Cutter(file, Alone(file, data), Path(cut.name), choice, threads)
            timed, notes = [], []
            for node in asked:
                on_delegate = taken is None or node in taken
                try:
                    timed.append(_Timed(node, cutter.load(node, on_delegate, found, once), []))
                except _FAILURES as error:
                    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                    notes.append(f"node {node} {file.main.ops[node].name} alone: {reason}")
            notes += cutter.notes()
            empty = cutter.empty()
            whole_s, call_s = _sweep(whole, timed, empty, sweeps, _clock(threads, choice))
            # The views into the file must be gone before it is closed.
            del cutter
    return _report(file, whole, timed, notes, once, asked, sweeps, (whole_s, call_s))


def _fill(whole: Interpreter, file: ModelFile, frame: Frame) -> None:
    """Put the frame into the model's picture."""
    info = whole.inputs[0]
    if info.shape[3] not in (1, 3):
        return
    resizer = Resizer(info.shape[1], info.shape[2], "stretch")
    buffer = resizer.buffer()
    resizer.resize_into(frame, buffer)
    stated = tflite_metadata.normalization(tflite_metadata.metadata(file), file.name)
    whole.fill(buffer, filler(info, stated, _USUAL))


def _values(
    whole: Interpreter, file: ModelFile, size: tuple[int, int] | None
) -> dict[int, NDArray[Any]]:
    """What every tensor holds after an invoke on the picture, by index, as far as it can be had."""
    found = runtime.find()
    try:
        plain = found.interpreter(
            model_content=file.data,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            **found.without_default_delegates(),
        )
        details = plain.get_input_details()
        if size is not None:
            shape = whole.inputs[0].shape
            plain.resize_tensor_input(details[0]["index"], shape)
        plain.allocate_tensors()
        plain.set_tensor(details[0]["index"], whole.read_input())
        plain.invoke()
    except _FAILURES:
        # An op of the delegate's own: its neighbours get zeros.
        return {whole.inputs[0].index: whole.read_input()}
    values = {}
    for detail in plain.get_tensor_details():
        try:
            values[int(detail["index"])] = plain.get_tensor(detail["index"])
        except _FAILURES:
            continue
    return values


def _run_once(file: ModelFile) -> frozenset[int]:
    """The nodes that are computed of constants alone, such as weights that are widened."""
    constant = {tensor.index for tensor in file.main.tensors if tensor.is_constant}
    once = set()
    for node, op in enumerate(file.main.ops):
        if op.inputs and all(tensor in constant for tensor in op.inputs if tensor >= 0):
            once.add(node)
            constant |= set(op.outputs)
    return frozenset(once)


class _Cutter:
    """Loads one node after the other from one file, which holds one at a time."""

    def __init__(
        self, file: ModelFile, alone: Alone, path: Path, choice: DelegateChoice, threads: int
    ) -> None:
        self._file, self._alone, self._path = file, alone, path
        self._choice, self._threads = choice, threads
        self._left: Counter[str] = Counter()

    def load(
        self,
        node: int,
        on_delegate: bool,
        values: Mapping[int, NDArray[Any]],
        once: frozenset[int],
    ) -> Any:
        """Return the node in an interpreter that has run it once.

        Raises:
            ValueError, RuntimeError: it does not run alone.
        """
        op, graph = self._file.main.ops[node], self._file.main
        makers = {tensor: place for place in once for tensor in graph.ops[place].outputs}
        before, waiting = set(), [tensor for tensor in op.inputs if tensor in makers]
        while waiting:
            place = makers[waiting.pop()]
            before.add(place)
            waiting += [tensor for tensor in graph.ops[place].inputs if tensor in makers]
        inputs = dict.fromkeys(
            tensor
            for tensor in op.inputs
            if tensor >= 0 and tensor not in makers and not graph.tensors[tensor].is_constant
        )
        self._alone.leave([*sorted(before), node], list(inputs), op.outputs)
        interpreter = self._opened(on_delegate)
        for tensor in inputs:
            if tensor in values and graph.tensors[tensor].shape != values[tensor].shape:
                interpreter.resize_tensor_input(tensor, values[tensor].shape)
        interpreter.allocate_tensors()
        for tensor in inputs:
            if tensor in values:
                interpreter.set_tensor(tensor, values[tensor])
        interpreter.invoke()
        if on_delegate and not delegated_nodes(interpreter._get_ops_details()):
            self._left[op.name] += 1
        return interpreter

    def empty(self) -> Any:
        """Return an interpreter without a node: what calling one costs."""
        (first, *_) = self._file.main.inputs
        self._alone.leave([], [first], [first])
        interpreter = self._opened(False)
        interpreter.allocate_tensors()
        return interpreter

    def _opened(self, on_delegate: bool) -> Any:
        found, delegates = runtime.find(), None
        options = {} if on_delegate else found.without_default_delegates()
        if on_delegate and self._choice.library is not None:
            delegates = [found.delegate(self._choice.library, self._choice.options)]
        with without_info():
            return found.interpreter(
                model_path=str(self._path),
                num_threads=self._threads,
                experimental_delegates=delegates,
                **options,
            )

    def notes(self) -> Iterator[str]:
        """Say which nodes a delegate took in the whole model, and left where they stood alone."""
        for name, count in self._left.items():
            yield f"{count} {name} ran on the CPU's plain kernels when alone"


def _clock(threads: int, choice: DelegateChoice) -> Callable[[], float]:
    """Processor time where this thread does all the work: a busy machine does not add to it."""
    alone = threads == 1 and choice.library is None
    return time.thread_time if alone else time.perf_counter


def _sweep(
    whole: Interpreter,
    timed: Sequence[_Timed],
    empty: Any,
    sweeps: int,
    clock: Callable[[], float],
) -> tuple[list[float], list[float]]:
    """Invoke the whole, then node by node, again and again; seconds of the whole and of a call."""
    whole_s: list[float] = []
    call_s: list[float] = []
    for sweep in range(_WARM_SWEEPS + sweeps):
        begun = clock()
        whole.invoke()
        took_s = [clock() - begun]
        for one in (*(item.interpreter for item in timed), empty):
            begun = clock()
            one.invoke()
            took_s.append(clock() - begun)
        if sweep < _WARM_SWEEPS:
            continue
        whole_s.append(took_s[0])
        call_s.append(took_s[-1])
        for item, seconds in zip(timed, took_s[1:-1], strict=True):
            item.times_s.append(seconds)
    return whole_s, call_s


def _report(
    file: ModelFile,
    whole: Interpreter,
    timed: Sequence[_Timed],
    notes: Sequence[str],
    once: frozenset[int],
    asked: Sequence[int],
    sweeps: int,
    spans_s: tuple[Sequence[float], Sequence[float]],
) -> OpTimes:
    whole_ms, call_ms = (min(span) * 1e3 for span in spans_s)
    ms = {item.node: max(0.0, min(item.times_s) * 1e3 - call_ms) for item in timed}
    total = sum(ms.values())
    graph, report = file.main, whole.delegate
    nodes = []
    for node in asked:
        op = graph.ops[node]
        first = graph.tensors[op.outputs[0]] if op.outputs else None
        taken = report.active if whole.delegated is None or node in whole.delegated else "cpu"
        own = ms.get(node)
        nodes.append(
            NodeTime(
                node=node,
                op=op.name,
                name=first.name if first is not None else "",
                shape=first.shape if first is not None else (),
                delegate=taken,
                ms=None if own is None else round(own, 4),
                share=None if own is None or not total else round(own / total, 4),
            )
        )
    found = runtime.find()
    return OpTimes(
        model=Path(file.name).stem,
        input="x".join(map(str, whole.inputs[0].shape[1:3])),
        runtime=f"{found.name} {found.version}",
        delegate=report.active,
        threads=whole.threads,
        sweeps=sweeps,
        whole_ms=round(whole_ms, 3),
        sum_ms=round(total, 3),
        call_ms=round(call_ms, 4),
        operators=_by_operator(nodes, total),
        nodes=tuple(sorted(nodes, key=lambda row: -(row.ms or 0.0))),
        once=dict(Counter(graph.ops[node].name for node in sorted(once))),
        notes=tuple(notes),
    )


def _by_operator(nodes: Sequence[NodeTime], total_ms: float) -> tuple[OperatorTime, ...]:
    kinds: dict[tuple[str, str], list[float]] = {}
    for row in nodes:
        if row.ms is not None:
            kinds.setdefault((row.op, row.delegate), []).append(row.ms)
    rows = [
        OperatorTime(
            op=op,
            nodes=len(each),
            delegate=delegate,
            ms=round(sum(each), 4),
            share=round(sum(each) / total_ms, 4) if total_ms else 0.0,
        )
        for (op, delegate), each in kinds.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.ms))
