"""Measures what each precision of the bundled PoseNet costs and keeps, for benchmarks.py.

With XNNPACK, which every run has, and with the runtime's plain kernels beside it. XNNPACK's weight
cache is not measured: the runtimes' Python packages have no way to ask for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmark_parts import median_ms

from edgecam.inference import catalog as bundled
from edgecam.inference import runtime

ROOT = Path(__file__).resolve().parents[1]
Add = Callable[..., None]
SIZE = (353, 481)
# As ``edgecam quantize`` calls them; the first is the source of those that do not ship.
FLOAT = "posenet-fp16"
SHIPPED = {"float16": FLOAT, "int8-mixed": "posenet-int8"}
MADE = ("dynamic", "int8")
INVOKES = 12


def precisions(add: Add, rounds: int) -> None:
    """Invoke times, in turns, and the mean OKS against float on the bundled clip."""
    with tempfile.TemporaryDirectory() as folder:
        files = {mode: bundled.resolve(name) for mode, name in SHIPPED.items()}
        likeness = {"float16": 1.0}
        for mode in (*MADE, "int8-mixed"):
            made = Path(folder) / f"{mode}.tflite"
            likeness[mode] = _quantised(mode, made)
            files.setdefault(mode, made)
        times = _invoke_ms(files, rounds)
    size = "x".join(map(str, SIZE))
    for (mode, kernels), ms in times.items():
        about = {"model": f"posenet, {mode}", "input": size, "threads": 1}
        add("invoke", ms, "ms", kernels, **about)
    for mode, value in likeness.items():
        about = {"model": f"posenet, {mode}", "input": size}
        add("mean OKS with float", value, "0..1", **about)


def _quantised(mode: str, output: Path) -> float:
    """Write the float model in this precision, whatever that costs; returns the mean OKS."""
    command = [sys.executable, "-m", "edgecam", "quantize", str(bundled.resolve(FLOAT))]
    command += ["--mode", mode, "--input-size", "x".join(map(str, SIZE)), "--json", "--force"]
    command += ["-o", str(output)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return float(json.loads(done.stdout)["kept"])


def _invoke_ms(files: dict[str, Path], rounds: int) -> dict[tuple[str, str], float]:
    interpreters = {
        (mode, kernels): _allocated(path, arguments)
        for mode, path in files.items()
        for kernels, arguments in (
            ("XNNPACK", {}),
            ("plain kernels", runtime.find().without_default_delegates()),
        )
    }
    found: dict[tuple[str, str], list[float]] = {key: [] for key in interpreters}
    for _ in range(rounds):
        for key, interpreter in interpreters.items():
            found[key].append(median_ms(interpreter.invoke, INVOKES))
    return {key: median(times) for key, times in found.items()}


def _allocated(path: Path, arguments: dict[str, Any]) -> Any:
    interpreter = runtime.find().interpreter(model_path=str(path), num_threads=1, **arguments)
    detail = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(detail["index"], [1, *SIZE, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], np.zeros((1, *SIZE, 3), detail["dtype"]))
    interpreter.invoke()
    return interpreter
