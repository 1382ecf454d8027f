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
POSENET = ("heatmaps", "short_offsets", "resnet_displacement_fwd", "resnet_displacement_bwd")


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


def random(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(0, 0.3, shape).astype(np.float32)


def every_op() -> GraphModel:
    """A network with every op that converts; outputs ``softmax`` and ``reshaped``."""
    rng = np.random.default_rng(11)
    model = GraphModel()

    def node(name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        return model.node(name, op, inputs, {"T": FLOAT, **attributes})

    def ints(name: str, *values: Any) -> str:
        return model.const(name, np.array(values, np.int32))

    window = {"ksize": integers(1, 3, 3, 1), "strides": integers(1, 2, 2, 1)}
    image = model.image(17, 17)
    x = model.const("pads", np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))
    x = node("pad", "Pad", [image, x])
    x = model.conv(
        "c1",
        x,
        random(rng, 3, 3, 3, 8),
        random(rng, 8),
        op="_FusedConv2D",
        padding="VALID",
        stride=2,
    )
    x = node("relu", "Relu", [x])
    wide = model.conv(
        "c2",
        x,
        random(rng, 3, 3, 8, 2),
        random(rng, 16),
        op="FusedDepthwiseConv2dNative",
        dilation=2,
        activation="Relu6",
    )
    x = node("max", "MaxPool", [wide], **window, padding=text("SAME"))
    y = node("average", "AvgPool", [wide], **window, padding=text("SAME"))
    z = node("sum", "AddV2", [x, y])
    z = node("sum6", "Relu6", [z])
    z = node("product", "Mul", [z, node("difference", "Sub", [x, y])])
    z = node("up", "ResizeBilinear", [z, ints("size", 9, 9)], half_pixel_centers={"b": True})
    w = node("near", "ResizeNearestNeighbor", [y, ints("size2", 9, 9)])
    axis = model.const("axis", np.array(3, np.int32))
    z = node("joined", "ConcatV2", [z, node("sigmoid", "Sigmoid", [w]), axis])
    mean = node("mean", "Mean", [z, ints("axes", 1, 2)], keep_dims={"b": True})
    flat = node("squeezed", "Squeeze", [mean], squeeze_dims=integers(1, 2))
    dense = node(
        "dense",
        "_FusedMatMul",
        [flat, model.const("m", random(rng, 32, 5)), model.const("mb", random(rng, 5))],
        fused_ops=texts("BiasAdd"),
        num_args={"i": "1"},
    )
    model.outputs = [
        node("softmax", "Softmax", [dense]),
        node("reshaped", "Reshape", [z, ints("to", 1, -1, 4)]),
    ]
    return model


def resnet(size: tuple[int, int]) -> GraphModel:
    """What ResNet50's PoseNet is made of, on two blocks: the ops, strides and dilation.

    A padded 7x7 convolution of stride 2, batch norms that stand alone, max pooling, bottlenecks
    with a sum, one of them dilated, and once as TensorFlow 1 wrote a dilation.
    """
    rng = np.random.default_rng(5)
    model = GraphModel()

    def node(name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        return model.node(name, op, inputs, {"T": FLOAT, **attributes})

    def ints(name: str, values: Any) -> str:
        return model.const(name, np.array(values, np.int32))

    def norm(name: str, taken: str, channels: int) -> str:
        statistics = {
            "scale": 1 + random(rng, channels),
            "offset": random(rng, channels),
            "mean": random(rng, channels),
            "variance": rng.uniform(0.5, 2, channels).astype(np.float32),
        }
        inputs = [model.const(f"{name}/{key}", values) for key, values in statistics.items()]
        options = {"epsilon": {"f": 1.001e-5}, "is_training": {"b": False}}
        return node(name, "FusedBatchNormV3", [taken, *inputs], **options, data_format=text("NHWC"))

    def bottleneck(name: str, x: str, dilation: int) -> str:
        y = node(f"{name}/relu0", "Relu", [norm(f"{name}/preact", x, 16)])
        y = model.conv(f"{name}/1", y, random(rng, 1, 1, 16, 8))
        y = node(f"{name}/relu1", "Relu", [norm(f"{name}/norm1", y, 8)])
        y = model.conv(f"{name}/2", y, random(rng, 3, 3, 8, 8), dilation=dilation)
        y = node(f"{name}/relu2", "Relu", [norm(f"{name}/norm2", y, 8)])
        y = model.conv(f"{name}/3", y, random(rng, 1, 1, 8, 16), random(rng, 16), op="_FusedConv2D")
        return node(f"{name}/sum", "AddV2", [x, y])

    pads = ints("pads", [[0, 0], [3, 3], [3, 3], [0, 0]])
    x = node("pad", "Pad", [model.image(*size), pads])
    x = model.conv("conv1", x, random(rng, 7, 7, 3, 16), padding="VALID", stride=2)
    x = node("bias", "BiasAdd", [x, model.const("b", random(rng, 16))])
    x = node("pad1", "Pad", [x, ints("pads1", [[0, 0], [1, 1], [1, 1], [0, 0]])])
    window = {"ksize": integers(1, 3, 3, 1), "strides": integers(1, 2, 2, 1)}
    x = node("pool", "MaxPool", [x], **window, padding=text("VALID"))
    x = bottleneck("resnet/block1", x, 1)
    x = bottleneck("resnet/block2", x, 2)
    block = ints("block", [2, 2])
    height, width = ((side + 1) // 2 for side in size)
    extra = [((side + 1) // 2) % 2 for side in (height, width)]
    around = [[2, 2 + extra[0]], [2, 2 + extra[1]]]
    y = node("s2b", "SpaceToBatchND", [x, block, ints("around", around)])
    y = model.conv("atrous", y, random(rng, 3, 3, 16, 16), padding="VALID")
    crops = ints("crops", [[0, extra[0]], [0, extra[1]]])
    y = norm("postnorm", node("b2s", "BatchToSpaceND", [y, block, crops]), 16)
    x = node("last", "Relu", [y])
    for name, channels in zip(POSENET, (17, 34, 32, 32), strict=True):
        weights = random(rng, 1, 1, 16, channels)
        model.outputs.append(
            model.conv(f"float_{name}", x, weights, random(rng, channels), op="_FusedConv2D")
        )
    return model
