"""Small TensorFlow.js graph models, written as TensorFlow.js stores them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def texts(*values: str) -> dict[str, Any]:
    return {"list": {"s": [text(value)["s"] for value in values]}}


def integers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


def shape_of(shape: Sequence[int]) -> dict[str, Any]:
    return {"dim": [{"size": str(side)} for side in shape]}


FLOAT = {"type": "DT_FLOAT"}


@dataclass
class GraphModel:
    """Nodes are appended in order; every method returns the new node's name."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def image(self, height: int, width: int, channels: int = 3) -> str:
        shape = {"shape": shape_of((1, height, width, channels))}
        return self.node("image", "Placeholder", [], {"shape": shape, "dtype": FLOAT})

    def const(self, name: str, values: np.ndarray[Any, Any]) -> str:
        self.weights[name] = values
        kind = {"float32": "DT_FLOAT", "int32": "DT_INT32"}[values.dtype.name]
        tensor = {"dtype": kind, "tensorShape": shape_of(values.shape)}
        attributes = {"dtype": {"type": kind}, "value": {"tensor": tensor}}
        return self.node(name, "Const", [], attributes)

    def node(self, name: str, op: str, inputs: list[str], attributes: dict[str, Any]) -> str:
        self.nodes.append({"name": name, "op": op, "input": inputs, "attr": attributes})
        return name

    def conv(
        self,
        name: str,
        taken: str,
        weights: np.ndarray[Any, Any],
        bias: np.ndarray[Any, Any] | None = None,
        *,
        op: str = "Conv2D",
        stride: int = 1,
        dilation: int = 1,
        padding: str = "SAME",
        activation: str | None = None,
    ) -> str:
        attributes: dict[str, Any] = {
            "strides": integers(1, stride, stride, 1),
            "dilations": integers(1, dilation, dilation, 1),
            "padding": text(padding),
            "data_format": text("NHWC"),
            "explicit_paddings": {"list": {}},
            "T": FLOAT,
        }
        inputs = [taken, self.const(f"{name}/w", weights)]
        if bias is not None:
            inputs.append(self.const(f"{name}/b", bias))
            attributes["fused_ops"] = texts("BiasAdd", *([activation] if activation else []))
            attributes["num_args"] = {"i": "1"}
        return self.node(name, op, inputs, attributes)

    def write(self, folder: Path, shard_bytes: int = 1 << 22) -> Path:
        """Write model.json and its shards; return model.json."""
        folder.mkdir(parents=True, exist_ok=True)
        data = b"".join(values.tobytes() for values in self.weights.values())
        parts = [data[at : at + shard_bytes] for at in range(0, len(data), shard_bytes)] or [b""]
        names = [f"group1-shard{n + 1}of{len(parts)}.bin" for n in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            (folder / name).write_bytes(part)
        entries = [
            {"name": name, "shape": list(values.shape), "dtype": values.dtype.name}
            for name, values in self.weights.items()
        ]
        outputs = {f"{name}:0": {"name": f"{name}:0"} for name in self.outputs}
        document = {
            "format": "graph-model",
            "signature": {"inputs": {"image:0": {"name": "image:0"}}, "outputs": outputs},
            "modelTopology": {"node": self.nodes, "library": {}, "versions": {}},
            "weightsManifest": [{"paths": names, "weights": entries}],
        }
        path = folder / "model.json"
        path.write_text(json.dumps(document))
        return path
