"""MobileNets in Keras: their sizes, what becomes of them as .tflite, and weights taken over."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from normalisation import in_graph, in_tflite

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.inference.decoders import anchors
from edgecam.inference.tflite.file import SSD_POSTPROCESS_OP, read
from edgecam.tools.convert import fuse as fold
from edgecam.tools.convert import graphdef, tfjs, tfjs_folder
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.convert.tensorflow_load import open_tensorflow

if not importlib.util.find_spec("tensorflow"):
    pytest.skip("builds networks with TensorFlow's Keras", allow_module_level=True)

from edgecam.tools.train import (
    classes,
    detector,
    export,
    heads,
    mobilenet_v1,
    mobilenet_v2,
    posenet,
    weights,
)

WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def trainable(model: Any) -> int:
    return sum(int(np.prod(values.shape)) for values in model.trainable_weights)


def test_v1_has_the_published_parameters() -> None:
    """Howard et al., table 8: 4.2 million; Keras' documentation of its MobileNet has the digits."""
    model = heads.classifier(mobilenet_v1.build(1.0), 1000)
    assert model.count_params() == 4_253_864
    assert trainable(model) == 4_231_976


def test_a_quarter_of_v1_without_its_top_has_the_published_parameters() -> None:
    backbone = mobilenet_v1.build(0.25)
    model = backbone.layers.keras.Model(backbone.image, backbone.maps["conv_pw_13_relu"])
    assert model.count_params() == 218_544


def test_v2_has_the_published_parameters() -> None:
    assert heads.classifier(mobilenet_v2.build(1.0), 1000).count_params() == 3_538_984


@pytest.mark.parametrize("alpha", [0.35, 0.75, 1.3])
def test_v2_is_as_wide_as_keras_own(alpha: float) -> None:
    ours = heads.classifier(mobilenet_v2.build(alpha, (96, 96)), 10)
    theirs = ours_of_keras("MobileNetV2", alpha)
    assert [v.shape for v in ours.get_weights()] == [v.shape for v in theirs.get_weights()]


@pytest.mark.parametrize(
    ("network", "name", "alpha"),
    [
        (mobilenet_v1, "MobileNet", 0.25),
        (mobilenet_v1, "MobileNet", 1.0),
        (mobilenet_v2, "MobileNetV2", 0.35),
        (mobilenet_v2, "MobileNetV2", 1.0),
    ],
)
def test_it_computes_what_keras_own_does(network: Any, name: str, alpha: float) -> None:
    ours = network.build(alpha, (96, 96))
    model = ours.layers.keras.Model(ours.image, ours.features)
    theirs = unsettled(ours_of_keras(name, alpha, include_top=False))
    model.set_weights(theirs.get_weights())
    picture = export_probe((96, 96))
    expected = np.asarray(theirs(picture, training=False))
    assert expected.std() > 0.1
    np.testing.assert_allclose(
        model(picture, training=False), expected, atol=1e-4 * np.abs(expected).max()
    )


def ours_of_keras(name: str, alpha: float, **arguments: Any) -> Any:
    applications = heads_keras().applications
    make = getattr(applications, name)
    if "include_top" not in arguments:
        arguments["classes"] = 10
    return make(input_shape=(96, 96, 3), alpha=alpha, weights=None, **arguments)


def heads_keras() -> Any:
    from edgecam.tools.train.layers import open_keras

    return open_keras()


def export_probe(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (1, *size, 3)).astype(np.float32)


def unsettled(model: Any) -> Any:
    """Give batch normalisation something to fold: averages and factors that are not 0 and 1."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.5, 1.5, v.shape) for v in layer.get_weights()])
    return model


def invoked(data: bytes, picture: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = runtime.find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in details}


def same(found: dict[str, np.ndarray], expected: Any) -> None:
    for name, values in found.items():
        scale = float(np.abs(expected[name]).max())
        np.testing.assert_allclose(values, expected[name], atol=1e-3 * scale)


def test_conversion_folds_batch_normalisation(tmp_path: Path) -> None:
    """Of a Keras file, which has it; what is folded computes the same."""
    model = unsettled(heads.posenet(mobilenet_v1.build(0.5, (97, 97), output_stride=16)))
    model.save(str(tmp_path / "pose.keras"))
    output = str(tmp_path / "pose.tflite")
    arguments = ["convert", str(tmp_path / "pose.keras"), "--size", "97x97", "-o", output]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    file = read(Path(output))
    # 27 layers and the four heads, nothing else.
    assert [op.name in WEIGHTED for op in file.main.ops] == [True] * 31
    picture = export_probe((97, 97))
    same(invoked(file.data, picture), model(picture, training=False))


NETWORKS: dict[str, Callable[[], Any]] = {
    "pose v1": lambda: posenet.build("v1", 0.25, (97, 97), 16),
    "pose v1, dilated": lambda: posenet.build("v1", 0.25, (97, 97), 8),
    "pose v2, dilated": lambda: posenet.build("v2", 0.25, (97, 97), 8),
    "ssdlite": lambda: detector.build(0.25, (96, 96), ("disc", "square")),
    "ssd": lambda: detector.build(0.25, (96, 96), ("disc", "square"), lite=False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_that_training_writes_has_batch_normalisation(name: str, tmp_path: Path) -> None:
    built = NETWORKS[name]()
    unsettled(built.model)
    writer = posenet if name.startswith("pose") else detector
    files = {path.name: path for path in writer.write(built, tmp_path / "made")}
    models = {"made.tflite", "made_raw.tflite"} & set(files)
    assert len(models) == (1 if name.startswith("pose") else 2)
    for model in models:
        assert in_tflite(read(files[model])) == [], model
    frozen = graphdef.read(files["made.pb"])
    assert in_graph(frozen) == []
    kernels = [node.op for node in frozen.nodes if node.op in fold.CONVOLUTIONS]
    assert [node.op for node in frozen.nodes].count("BiasAdd") == len(kernels) > 30


def test_batch_normalisation_that_is_left_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both kinds of file: before a convolution nothing can take it in."""
    keras = heads_keras()
    image = keras.layers.Input((32, 32, 3), name="image")
    found = keras.layers.BatchNormalization()(image)
    found = keras.layers.Conv2D(4, 3, activation="relu")(found)
    model = unsettled(keras.Model(image, keras.layers.Flatten(name="flat")(found)))
    model.save(str(tmp_path / "left.keras"))
    arguments = ["convert", str(tmp_path / "left.keras"), "-o", str(tmp_path / "left.tflite")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(in_tflite(read(tmp_path / "left.tflite"))) == ["ADD", "MUL"]
    with pytest.raises(ConvertError, match="expected a convolution"):
        export.folded(model)
    monkeypatch.setattr(export, "folded", lambda model: model)
    definition = export.freeze(model, (32, 32), ["scores"])
    left = in_graph(graphdef.parse(definition.SerializeToString(), "left"))
    assert {"Rsqrt", "Mul"} <= set(left)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_folded_network_computes_the_same(stride: int) -> None:
    """In TensorFlow, out of the frozen graph itself."""
    built = posenet.build("v2", 0.25, (97, 97), stride)
    model = unsettled(built.model)
    picture = export_probe((97, 97))
    expected = model(picture, training=False)
    before = [values.copy() for values in model.get_weights()]
    definition = export.freeze(model, (97, 97), OUTPUTS)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    tensorflow = open_tensorflow()
    with tensorflow.Graph().as_default() as graph:
        tensorflow.import_graph_def(definition, name="")
        with tensorflow.compat.v1.Session(graph=graph) as session:
            names = [f"{name}:0" for name in OUTPUTS]
            found = session.run(names, {"image:0": picture})
    same(dict(zip(OUTPUTS, found, strict=True)), expected)


@pytest.mark.parametrize("network", ["v1", "v2"])
def test_a_classifier_is_written_without_batch_normalisation(network: str, tmp_path: Path) -> None:
    model, _ = classes.build(network, 0.25, (96, 96), 3, None)
    unsettled(model)
    data = classes.to_tflite(model, (96, 96), ("a", "b", "c"), network)
    assert in_tflite(read(data)) == []
    # For TensorFlow.js too, where a kernel of uint8 has a factor for each channel.
    tfjs_folder.write(data, network, "uint8", tmp_path / "web")
    web = tfjs.read(tmp_path / "web" / "model.json")
    of_pictures = [
        node for node in web.nodes if not all(name in web.constants for name in node.inputs)
    ]
    assert {"_FusedConv2D", "Conv2D"} & {node.op for node in of_pictures}
    assert not {"Mul", "Sub", "RealDiv", "Rsqrt"} & {node.op for node in of_pictures}
    assert not [node.op for node in web.nodes if "BatchNorm" in node.op]
    back = convert(tmp_path / "web" / "model.json", Options())
    assert in_tflite(read(back.data)) == []
    picture = export_probe((96, 96))
    (found,) = invoked(data, picture).values()
    np.testing.assert_allclose(found, model(picture, training=False), atol=1e-4)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_posenet_has_cells_as_large_as_asked(stride: int) -> None:
    model = heads.posenet(mobilenet_v1.build(0.25, (129, 161), output_stride=stride))
    found = {name: tuple(tensor.shape[1:]) for name, tensor in model.output.items()}
    cells = (128 // stride + 1, 160 // stride + 1)
    depths = zip(OUTPUTS, (17, 34, 32, 32), strict=True)
    assert found == {name: (*cells, depth) for name, depth in depths}


@pytest.mark.parametrize("network", [mobilenet_v1, mobilenet_v2])
def test_a_hed_has_a_side_output_at_each_scale(network: Any) -> None:
    """Also on the networks as published, whose scales end at strides of 2 to 32."""
    backbone = network.build(0.25, (64, 96))
    assert [tuple(end.shape[1:3]) for end in backbone.scales] == [
        (64 // stride, 96 // stride) for stride in (2, 4, 8, 16, 32)
    ]
    model = heads.hed(backbone, (8, 8, 16, 16, 24))
    assert [tuple(output.shape) for output in model.outputs] == [(None, 32, 48, 1)] * 6
    found = model(export_probe((64, 96)), training=False)
    # What is fused is a weighted sum of the sides and nothing else.
    weights_, bias = model.get_layer("fuse").get_weights()
    sides = np.concatenate([np.asarray(side) for side in found[1:]], axis=-1)
    np.testing.assert_allclose(found[0], sides @ weights_[0, 0] + bias, atol=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        heads.hed(backbone, (8, 8, 16, 16))


def test_an_ssd_is_written_with_and_without_postprocessing(tmp_path: Path) -> None:
    built = detector.build(0.25, (96, 96), ("disc", "square"))
    unsettled(built.model)
    detector.write(built, tmp_path / "slim")
    whole, raw = (read(tmp_path / f"slim{end}.tflite") for end in ("", "_raw"))
    assert whole.main.ops[-1].name == SSD_POSTPROCESS_OP
    assert SSD_POSTPROCESS_OP not in raw.operator_codes
    found = anchors.of(raw)
    assert found is not None
    np.testing.assert_array_equal(found, built.anchors)
    picture = export_probe((96, 96))
    expected = built.model(picture, training=False)
    outputs = invoked(raw.data, picture)
    for name, values in zip((heads.ENCODINGS, heads.SCORES), outputs.values(), strict=True):
        np.testing.assert_allclose(values, expected[name], atol=2e-3 * np.abs(expected[name]).max())


@pytest.mark.parametrize(
    ("network", "lite"), [(mobilenet_v2, True), (mobilenet_v2, False), (mobilenet_v1, False)]
)
def test_an_ssd_has_the_published_anchors(network: Any, lite: bool) -> None:
    made = heads.ssd(network.build(0.25, (300, 300)), 0.25, 4, lite=lite)
    np.testing.assert_array_equal(anchors.grid(made.sides), anchors.mobilenet_300())
    assert made.model.output[heads.ENCODINGS].shape[1:] == (1917, 4)
    assert made.model.output[heads.SCORES].shape[1:] == (1917, 5)


def frozen_bytes(alpha: float, classes_: int) -> int:
    built = detector.build(alpha, (300, 300), [f"class {n}" for n in range(classes_)])
    names = (heads.ENCODINGS, heads.SCORES)
    definition = export.freeze(built.model, (300, 300), names)
    whole = export.with_postprocess(definition, names, built.anchors, classes_)
    return len(whole.SerializeToString())


def test_a_slim_ssd_is_as_much_smaller_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen graphs of 19 MB with COCO's classes, and about 2.2 MB at a quarter with one.

    Those have batch normalisation; without they are smaller, the slim one by more.
    """
    folded = frozen_bytes(1.0, 90), frozen_bytes(0.25, 1)
    monkeypatch.setattr(export, "folded", lambda model: model)
    plain = frozen_bytes(1.0, 90), frozen_bytes(0.25, 1)
    assert plain[0] == pytest.approx(19e6, rel=0.05)
    assert plain[1] == pytest.approx(2.2e6, rel=0.05)
    assert folded[0] < plain[0]
    assert folded[1] < 0.9 * plain[1]
    assert folded[0] / folded[1] > 19 / 2.2


def spelled_out(listed: str) -> list[str]:
    """a_1..3+5_b as a_1_b, a_2_b, a_3_b and a_5_b."""
    names = []
    for text in listed.split(", "):
        start, numbers, end = re.fullmatch(r"(.*?)(?:(?<=_)([\d.+]+)(?=_|$)(.*))?", text).groups()
        for run in numbers.split("+") if numbers else ():
            first, _, last = run.partition("..")
            names += [f"{start}{n}{end}" for n in range(int(first), int(last or first) + 1)]
        if not numbers:
            names.append(start)
    return names


def test_kept_layers_are_all_named() -> None:
    names = ["Conv1", "a_1_b", "a_2_b", "a_3_b", "a_5_b", "a_7_b", "a_8_b", "c_4", "c_4_1"]
    text = weights.listed(names)
    assert text == "Conv1, a_1..3+5+7..8_b, c_4, c_4_1"
    assert spelled_out(text) == names


def test_weights_are_kept_where_they_fit(tmp_path: Path) -> None:
    wide = detector.build(0.5, (96, 96), ("disc", "square"))
    wide.model.save(str(tmp_path / "wide.keras"))
    same = detector.build(0.5, (96, 96), ("disc", "square", "triangle"))
    kept = weights.keep_fitting(same.model, tmp_path / "wide.keras")
    assert "block_5_project" in kept.kept
    assert set(kept.differing) == {f"classes_{n}" for n in range(6)}
    assert not kept.missing
    for layer in kept.kept:
        pairs = zip(
            same.model.get_layer(layer).get_weights(),
            wide.model.get_layer(layer).get_weights(),
            strict=True,
        )
        assert all(np.array_equal(one, other) for one, other in pairs)
    count = len(kept.kept)
    first, second = str(kept).splitlines()
    start = f"kept the weights of {count} of {count + 6} layers: "
    assert first.startswith(f"{start}Conv1, bn_Conv1, expanded_conv_depthwise, ")
    assert "block_1..16_expand_BN" in first
    assert sorted(spelled_out(first.removeprefix(start))) == sorted(kept.kept)
    assert second == "6 of another shape: classes_0..5"
    slim = detector.build(0.25, (96, 96), ("disc", "square"))
    assert "Conv1" in weights.keep_fitting(slim.model, tmp_path / "wide.keras").differing
    with pytest.raises(ConvertError, match="no layer that fits"):
        weights.keep_fitting(
            classes.build("v1", 0.25, (96, 96), 3, None)[0], tmp_path / "wide.keras"
        )


def test_the_bundled_posenet_begins_a_classifier() -> None:
    """Its folded layers give the same features in Keras as in the runtime."""
    from edgecam.tools.train.head import graft
    from edgecam.tools.train.head.backbone import find

    path = bundled.resolve("posenet-fp16")
    model, kept = classes.build("v1", 0.75, (161, 161), 3, path)
    assert kept == 27
    pooled = heads_keras().Model(model.input, model.get_layer("pool").output)
    picture = export_probe((161, 161))
    backbone = find(read(path))
    (features,) = invoked(graft.features(backbone, (161, 161)), picture).values()
    last = features[:, -backbone.maps[-1].shape[3] :]
    np.testing.assert_allclose(pooled(picture, training=False), last, atol=1e-3)
    with pytest.raises(ConvertError, match="give the --alpha it was made with"):
        classes.build("v1", 0.5, (161, 161), 3, path)
