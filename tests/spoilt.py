"""Models whose biases are NaN or infinity, as a delegate's float16 makes outputs of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecam.inference import catalog
from edgecam.inference.tflite.file import load, read

FLOATS = {"FLOAT32": np.float32, "FLOAT16": np.float16}


def address(values: bytes | memoryview) -> int:
    return int(np.frombuffer(values, np.uint8).__array_interface__["data"][0])


def spoilt(model: str, folder: Path, value: float) -> Path:
    """A copy of a bundled model whose float biases are all ``value``; asserts that it has some."""
    path = catalog.resolve(model)
    file = read(load(path), str(path))
    data, found = bytearray(file.data), 0
    of_constant = {op.outputs[0]: op.inputs[0] for op in file.main.ops if op.name == "DEQUANTIZE"}
    for op in file.main.ops:
        if "CONV" not in op.name or len(op.inputs) < 3:
            continue
        # Of a float16 model the biases go through an op that makes float32 of them.
        bias = file.main.tensors[of_constant.get(op.inputs[2], op.inputs[2])]
        values = file.buffers[bias.buffer]
        if bias.type not in FLOATS or not len(values):
            continue
        begin = address(values) - address(file.data)
        data[begin : begin + len(values)] = np.full(
            len(values) // FLOATS[bias.type]().nbytes, value, FLOATS[bias.type]
        ).tobytes()
        found += 1
    assert found, f"{model} has no float biases"
    copy = folder / f"{path.stem}.tflite"
    copy.write_bytes(data)
    return copy
