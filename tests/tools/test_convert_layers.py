"""TensorFlow.js layers models compute what plain numpy computes from the same layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference import labels
from edgecam.inference.runtime import find
from edgecam.inference.tflite.file import read
from edgecam.inference.tflite.metadata import metadata
from edgecam.tools.convert.conversion import UNSTATED, Options, convert
from edgecam.tools.convert.graph import ConvertError

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

RNG = np.random.default_rng(5)
IMAGE = RNG.normal(0, 1, (1, 6, 8, 3)).astype(np.float32)
KERNEL, BY_POINT = (RNG.normal(0, 1, s).astype(np.float32) for s in ((3, 3, 3, 2), (1, 1, 3, 4)))
BIAS = RNG.normal(0, 1, 4).astype(np.float32)
GAMMA, BETA, MEAN = (RNG.normal(0, 1, 3).astype(np.float32) for _ in range(3))
VARIANCE = RNG.uniform(0.5, 2, 3).astype(np.float32)
NORMAL = (IMAGE - MEAN) / np.sqrt(VARIANCE + 0.001)
Config = dict[str, Any]


def layer(kind: str, name: str, *sources: str, **config: Any) -> Config:
    inbound = [[[source, 0, 0, {}] for source in sources]] if sources else []
    config = {"name": name, **config}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound}


def picture() -> Config:
    return layer("InputLayer", "picture", batch_input_shape=[None, 6, 8, 3])


def network(name: str, layers: list[Config]) -> Config:
    config = {
        "name": name,
        "layers": layers,
        "input_layers": [[layers[0]["name"], 0, 0]],
        "output_layers": [[layers[-1]["name"], 0, 0]],
    }
    return {"class_name": "Model", "name": name, "config": config}


def sequence(name: str, layers: list[Config]) -> Config:
    return {"class_name": "Sequential", "name": name, "config": {"name": name, "layers": layers}}


def write(folder: Path, topology: Config, weights: Mapping[str, Any]) -> Path:
    (folder / "weights.bin").write_bytes(b"".join(w.tobytes() for w in weights.values()))
    entries = [{"name": n, "shape": list(w.shape), "dtype": "float32"} for n, w in weights.items()]
    manifest = [{"paths": ["weights.bin"], "weights": entries}]
    document = {"modelTopology": topology, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(document))
    return folder / "model.json"


def run(data: bytes) -> Any:
    interpreter = find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], IMAGE)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def by_blocks(function: Any) -> Any:
    return function(IMAGE.reshape(1, 3, 2, 4, 2, 3), axis=(2, 4))


def depthwise(padded: Any, kernel: Any) -> Any:
    """Stride 1, [H, W, in, multiplier]."""
    height, width = (side - 2 for side in padded.shape[1:3])
    made = np.zeros((1, height, width, *kernel.shape[2:]), np.float32)
    for y in range(3):
        for x in range(3):
            made += padded[:, y : y + height, x : x + width, :, None] * kernel[y, x]
    return made.reshape(1, height, width, -1)


PADDED = np.pad(IMAGE, ((0, 0), (1, 1), (1, 1), (0, 0)))
STATISTICS = {"moving_mean": MEAN, "moving_variance": VARIANCE}
LINEAR: Config = {"use_bias": False, "activation": "linear", "padding": "same", "strides": [1, 1]}
# layer, its settings, its weights, what it makes of the picture
CASES: list[tuple[str, Config, Mapping[str, Any], Any]] = [
    (
        "BatchNormalization",
        {"axis": 3, "epsilon": 0.001, "scale": True, "center": True},
        {"gamma": GAMMA, "beta": BETA, **STATISTICS},
        NORMAL * GAMMA + BETA,
    ),
    (
        "BatchNormalization",
        {"axis": [3], "epsilon": 0.001, "scale": False, "center": False},
        STATISTICS,
        NORMAL,
    ),
    (
        "Conv2D",
        {"strides": [2, 2], "padding": "valid", "activation": "relu"},
        {"kernel": BY_POINT, "bias": BIAS},
        np.maximum(IMAGE[:, ::2, ::2] @ BY_POINT[0, 0] + BIAS, 0),
    ),
    ("DepthwiseConv2D", LINEAR, {"depthwise_kernel": KERNEL}, depthwise(PADDED, KERNEL)),
    (
        "SeparableConv2D",
        {**LINEAR, "use_bias": True, "activation": "tanh"},
        {"depthwise_kernel": KERNEL[..., :1], "pointwise_kernel": BY_POINT, "bias": BIAS},
        np.tanh(depthwise(PADDED, KERNEL[..., :1]) @ BY_POINT[0, 0] + BIAS),
    ),
    (
        "Conv2DTranspose",
        {**LINEAR, "strides": [2, 2]},
        {"kernel": np.ones((2, 2, 1, 3), np.float32)},
        IMAGE.sum(-1, keepdims=True).repeat(2, 1).repeat(2, 2),
    ),
    ("ReLU", {"max_value": 6, "negative_slope": 0, "threshold": 0}, {}, np.clip(IMAGE, 0, 6)),
    ("ReLU", {"max_value": None, "negative_slope": [0.1]}, {}, np.maximum(IMAGE, IMAGE * 0.1)),
    ("LeakyReLU", {"alpha": 0.2}, {}, np.maximum(IMAGE, IMAGE * 0.2)),
    ("Activation", {"activation": "swish"}, {}, IMAGE / (1 + np.exp(-IMAGE))),
    ("Dropout", {"rate": 0.5}, {}, IMAGE),
    ("ZeroPadding2D", {"padding": [[1, 1], [1, 1]]}, {}, PADDED),
    ("MaxPooling2D", {"pool_size": [2, 2], "strides": None}, {}, by_blocks(np.max)),
    ("AveragePooling2D", {"pool_size": 2, "strides": [2, 2]}, {}, by_blocks(np.mean)),
    ("GlobalAveragePooling2D", {}, {}, IMAGE.mean((1, 2))),
    ("Flatten", {}, {}, IMAGE.reshape(1, -1)),
    ("Reshape", {"target_shape": [-1, 3]}, {}, IMAGE.reshape(1, -1, 3)),
    ("UpSampling2D", {"size": [2, 3]}, {}, IMAGE.repeat(2, 1).repeat(3, 2)),
    ("Rescaling", {"scale": 0.5, "offset": -1.0}, {}, IMAGE * 0.5 - 1),
]


@pytest.mark.parametrize(("kind", "config", "weights", "expected"), CASES)
def test_each_layer(
    tmp_path: Path, kind: str, config: Config, weights: Mapping[str, Any], expected: Any
) -> None:
    named = {f"it/{key}": values for key, values in weights.items()}
    # Not every network is one layer alone: what hands on the picture needs a neighbour.
    layers = [
        picture(),
        layer("Rescaling", "before", "picture", scale=1.0, offset=0.0),
        layer(kind, "it", "before", **config),
    ]
    path = write(tmp_path, {"model_config": network("m", layers)}, named)
    np.testing.assert_allclose(run(convert(path, Options()).data), expected, atol=1e-4)


DENSE = {
    "dense_1/kernel": RNG.normal(0, 1, (3, 5)).astype(np.float32),
    "dense_1/bias": RNG.normal(0, 1, 5).astype(np.float32),
    "dense_2/kernel": RNG.normal(0, 1, (5, 2)).astype(np.float32),
}
NORM = {f"norm/{key}": values for key, values in {"gamma": GAMMA, "beta": BETA}.items()}
NORM |= {f"norm/{key}": values for key, values in STATISTICS.items()}


def teachable() -> Config:
    """As Teachable Machine writes them: a network and a head in sequences within a sequence."""
    backbone = [
        picture(),
        layer("BatchNormalization", "norm", "picture", axis=-1, epsilon=0.001),
        layer("Add", "sum", "norm", "picture"),
    ]
    features = sequence("features", [network("model1", backbone), layer(*POOLED)])
    head = [
        layer("Dense", "dense_1", use_bias=True, activation="relu"),
        layer("Dropout", "dropout", rate=0.5),
        layer("Dense", "dense_2", use_bias=False, activation="softmax"),
    ]
    return sequence("whole", [features, sequence("head", head)])


POOLED = ("GlobalAveragePooling2D", "pooled")


def test_models_within_models_and_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path, teachable(), NORM | DENSE)
    said = {"packageName": "@teachablemachine/image", "labels": ["кот", "dog"], "imageSize": 8}
    (tmp_path / "metadata.json").write_text(json.dumps(said))
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "m.tflite"
    done = CliRunner().invoke(cli, ["convert", str(path), "-o", str(target)])
    assert (done.exit_code, UNSTATED in done.stderr) == (0, False), done.stderr
    hidden = (NORMAL * GAMMA + BETA + IMAGE).mean((1, 2)) @ DENSE["dense_1/kernel"]
    logits = np.maximum(hidden + DENSE["dense_1/bias"], 0) @ DENSE["dense_2/kernel"]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(run(target.read_bytes()), expected, atol=1e-5)
    found = metadata(read(target))
    assert labels.resolve(None, None, None, found) == ("кот", "dog")
    assert found.inputs[0].mean == MINUS_ONE_TO_ONE.mean
    fused = [op.name for op in read(target).main.ops]
    assert fused.count("FULLY_CONNECTED") == 2
    assert "RELU" not in fused


def test_keras_3_writes_what_a_layer_takes_in_another_way(tmp_path: Path) -> None:
    layers = [picture(), layer("Add", "sum")]
    taken = {"class_name": "__keras_tensor__", "config": {"keras_history": ["picture", 0, 0]}}
    layers[1]["inbound_nodes"] = [{"args": [[taken, taken]], "kwargs": {}}]
    model = {**network("m", layers), "class_name": "Functional"}
    model["config"]["input_layers"] = ["picture", 0, 0]
    layers[0]["config"] = {"name": "picture", "batch_shape": [None, 6, 8, 3]}
    path = write(tmp_path, {"model_config": model}, {})
    np.testing.assert_allclose(run(convert(path, Options()).data), 2 * IMAGE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t["config"]["layers"].append(layer("LSTM", "x")), r"converted: LSTM \(1\)$"),
        (lambda t: t["config"]["layers"].append(layer("Dense", "x")), "weights 'x/kernel', found"),
        (
            lambda t: t["config"]["layers"][1]["config"]["layers"].pop(0),
            r"take \[1, 5\], its input is \[1, 3\]",
        ),
        (lambda t: t.pop("config"), "no sound model: KeyError"),
        (lambda t: t["config"]["layers"].clear(), "has no layers"),
    ],
)
def test_what_does_not_convert_is_named_in_one_line(tmp_path: Path, change: Any, says: str) -> None:
    topology = teachable()
    change(topology)
    with pytest.raises(ConvertError, match=says):
        convert(write(tmp_path, topology, NORM | DENSE), Options())
