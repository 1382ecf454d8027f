"""Keras files, SavedModels and TF1 checkpoints, converted by TensorFlow and checked against it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ssd_graphs
from click.testing import CliRunner, Result

from edgecam.cli.main import cli
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference import runtime
from edgecam.inference.tflite.file import read
from edgecam.inference.tflite.metadata import metadata
from edgecam.tools.convert import ssd_graph
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lite import LiteModel
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.convert.proof import prove
from edgecam.tools.convert.writer import write

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

RNG = np.random.default_rng(5)
PICTURE = RNG.uniform(-1, 1, (1, 33, 49, 3)).astype(np.float32)


def convert(source: Path, output: Path, *arguments: str) -> Result:
    command = ["convert", str(source), "-o", str(output), *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def refused(source: Path, folder: Path, *arguments: str) -> str:
    folder.mkdir()
    result = convert(source, folder / "x.tflite", *arguments)
    assert result.exit_code == 1, result.stderr
    assert list(folder.iterdir()) == []
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def invoked(path: Path, picture: Any = PICTURE) -> Mapping[str, Any]:
    interpreter = runtime.find().interpreter(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in details}


def test_without_tensorflow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (tmp_path / "m.keras").write_bytes(b"PK")
    error = refused(tmp_path / "m.keras", tmp_path / "out")
    assert "pip install 'edgecam[tensorflow]'" in error


def test_a_folder_of_neither_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "saved_model.pb" in refused(tmp_path / "empty", tmp_path / "out")


def written(factor: float) -> bytes:
    """A file that multiplies its picture, with the output ``product``."""
    model = LiteModel()
    image = model.tensor("image", (1, 2, 2, 3))
    model.inputs.append(image)
    by = model.constant("factor", np.full(3, factor, np.float32))
    options = {"fusedActivationFunction": 0}
    model.outputs.append(model.add("MUL", (image, by), "product", (1, 2, 2, 3), options))
    return write(model, "x", MINUS_ONE_TO_ONE)


def test_a_file_that_computes_something_else_is_refused() -> None:
    picture = np.ones((1, 2, 2, 3), np.float32)
    assert prove(written(2.0), "x", picture, {"product": picture * 2}) == []
    with pytest.raises(ConvertError, match=r"product differs by 0\.5 from the source"):
        prove(written(2.5), "x", picture, {"product": picture * 2})
    with pytest.raises(ConvertError, match="not finite on a random picture, by the conversion"):
        prove(written(np.nan), "x", picture, {"product": picture})
    with pytest.raises(ConvertError, match="expected the outputs"):
        prove(written(2.0), "x", picture, {"other": picture * 2})


@pytest.fixture(scope="module")
def tensorflow() -> Any:
    found: Any = pytest.importorskip("tensorflow", reason="the extra [tensorflow] is not installed")
    return found


@pytest.fixture(scope="module")
def keras_model(tensorflow: Any) -> Any:
    """Two convolutions with trained-looking batch norms, any size in, two outputs."""
    layers = tensorflow.keras.layers
    image = layers.Input((None, None, 3), name="image")
    values = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    values = layers.ReLU(6.0)(layers.BatchNormalization()(values))
    values = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(values)
    values = layers.ReLU(6.0)(layers.BatchNormalization()(values))
    second = layers.Conv2D(4, 1, name="zebra")(values)
    first = layers.Conv2D(5, 1, name="ant")(values)
    model = tensorflow.keras.Model(image, [second, first])
    for weights in model.weights:
        weights.assign(RNG.uniform(0.1, 0.9, weights.shape))
    return model


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keras_file_keeps_its_names_and_values(
    tmp_path: Path, keras_model: Any, suffix: str
) -> None:
    keras_model.save(tmp_path / f"m{suffix}")
    result = convert(tmp_path / f"m{suffix}", tmp_path / "m.tflite", "--size", "33x49")
    assert result.exit_code == 0, result.stderr
    file = read(tmp_path / "m.tflite")
    assert [op.name for op in file.main.ops] == ["CONV_2D", "DEPTHWISE_CONV_2D", *["CONV_2D"] * 2]
    assert file.main.tensors[file.main.inputs[0]].shape == (1, 33, 49, 3)
    found = metadata(file)
    assert [output.name for output in found.outputs] == ["zebra", "ant"]
    assert found.inputs[0].mean == (127.5,) * 3
    outputs = invoked(tmp_path / "m.tflite")
    expected = keras_model(PICTURE)
    for name, values in zip(("zebra", "ant"), expected, strict=True):
        np.testing.assert_allclose(outputs[name], values, rtol=1e-4, atol=1e-4)


def test_a_saved_model_converts_to_float16(tmp_path: Path, keras_model: Any) -> None:
    keras_model.export(tmp_path / "saved", verbose=False)
    arguments = ("--size", "33x49", "--quantize", "fp16", "--mean", "0", "--std", "255")
    result = convert(tmp_path / "saved", tmp_path / "m.tflite", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "DEQUANTIZE" in [op.name for op in read(tmp_path / "m.tflite").main.ops]
    assert metadata(read(tmp_path / "m.tflite")).inputs[0].std == (255.0,) * 3
    outputs = invoked(tmp_path / "m.tflite")
    for name, values in zip(("output_0", "output_1"), keras_model(PICTURE), strict=True):
        np.testing.assert_allclose(outputs[name], values, rtol=2e-2, atol=2e-2)


def test_a_posenet_in_keras_is_known_by_its_outputs(tmp_path: Path, tensorflow: Any) -> None:
    layers = tensorflow.keras.layers
    image = layers.Input((33, 49, 3))
    values = layers.Conv2D(8, 3, strides=16, padding="same")(image)
    heads = dict(zip(OUTPUTS, (17, 34, 32, 32), strict=True))
    reordered = sorted(OUTPUTS)
    model = tensorflow.keras.Model(
        image, [layers.Conv2D(heads[name], 1, name=name)(values) for name in reordered]
    )
    model.save(tmp_path / "p.keras")
    result = convert(tmp_path / "p.keras", tmp_path / "p.tflite", "--size", "32x49")
    assert "33x49 instead of 32x49" in result.stderr
    outputs = invoked(tmp_path / "p.tflite")
    assert list(outputs) == list(OUTPUTS)
    for name, wanted in zip(reordered, model(PICTURE), strict=True):
        np.testing.assert_allclose(outputs[name], wanted, rtol=1e-4, atol=1e-5)


def test_an_open_size_and_many_inputs_are_refused(
    tmp_path: Path, tensorflow: Any, keras_model: Any
) -> None:
    keras_model.save(tmp_path / "open.keras")
    assert "give --size" in refused(tmp_path / "open.keras", tmp_path / "a")
    one, two = (tensorflow.keras.Input((8, 8, 3)) for _ in range(2))
    tensorflow.keras.Model(one, one * 2.0).save(tmp_path / "fixed.keras")
    assert "takes 8x8 only" in refused(tmp_path / "fixed.keras", tmp_path / "c", "--size", "9x8")
    tensorflow.keras.Model([one, two], one + two).save(tmp_path / "two.keras")
    assert "expected one picture" in refused(tmp_path / "two.keras", tmp_path / "b")


def test_a_network_that_gives_nan_is_refused(tmp_path: Path, tensorflow: Any) -> None:
    image = tensorflow.keras.Input((8, 8, 3))
    layer = tensorflow.keras.layers.Conv2D(2, 1)
    model = tensorflow.keras.Model(image, layer(image))
    layer.kernel.assign(np.full(layer.kernel.shape, np.nan))
    model.save(tmp_path / "nan.keras")
    assert "not finite on a random picture, in the source" in refused(
        tmp_path / "nan.keras", tmp_path / "out"
    )


def test_what_the_converter_makes_of_unfrozen_variables_is_refused(
    tensorflow: Any, keras_model: Any
) -> None:
    spec = tensorflow.TensorSpec((1, 33, 49, 3), "float32", name="image")
    network = tensorflow.function(lambda picture: {"x": keras_model(picture)[0]})
    function = network.get_concrete_function(spec)
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function], keras_model)
    data = converter.convert()
    with pytest.raises(ConvertError, match="keeps weights in variables that nothing fills"):
        prove(data, "m", PICTURE, {"x": PICTURE})


def test_what_keras_cannot_load_is_refused_in_one_line(
    tmp_path: Path, tensorflow: Any, keras_model: Any
) -> None:
    keras_model.save_weights(tmp_path / "only.weights.h5")
    assert "cannot load" in refused(tmp_path / "only.weights.h5", tmp_path / "a")
    keras_model.save(tmp_path / "m.h5")
    keras_model.save(tmp_path / "m.keras")
    for name in ("m.keras", "m.h5"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-2000])
        assert "cannot load" in refused(path, tmp_path / f"out-{name}")

    class Own(tensorflow.keras.Model):  # type: ignore[name-defined, misc]
        def call(self, picture: Any) -> Any:
            return picture * 2.0

    own = Own()
    own(np.zeros((1, 8, 8, 3), np.float32))
    own.save(tmp_path / "own.keras")
    assert "model.export(DIR)" in refused(tmp_path / "own.keras", tmp_path / "c")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\xff" * 40)
    assert "TensorFlow cannot load" in refused(tmp_path / "saved", tmp_path / "d")


def test_a_detectors_saved_model_converts_as_its_frozen_graph(
    tmp_path: Path, tensorflow: Any
) -> None:
    raw = ssd_graphs.detector()
    (tmp_path / "saved.pb").write_bytes(raw)
    v1 = tensorflow.compat.v1
    with v1.Graph().as_default() as graph, v1.Session() as session:
        tensorflow.import_graph_def(v1.GraphDef.FromString(raw), name="")
        picture, boxes, scores = (
            graph.get_tensor_by_name(f"{name}:0")
            for name in ("image_tensor", ssd_graph.BOXES, ssd_graph.SCORES)
        )
        outputs = {"boxes": boxes, "scores": scores}
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": picture}, outputs)
    for source in ("saved", "saved.pb"):
        result = convert(tmp_path / source, tmp_path / f"{source}.tflite", "--raw")
        assert result.exit_code == 0, result.stderr
    folder, file = (tmp_path / f"{name}.tflite" for name in ("saved", "saved.pb"))
    assert folder.read_bytes() == file.read_bytes()


def test_ops_without_a_lite_form_are_named(tmp_path: Path, tensorflow: Any) -> None:
    spec = tensorflow.TensorSpec((1, 8, 8, 3), tensorflow.float32)
    module = tensorflow.Module()
    module.call = tensorflow.function(
        lambda picture: {"x": tensorflow.math.bessel_i0e(picture)}, input_signature=[spec]
    )
    tensorflow.saved_model.save(module, str(tmp_path / "saved"), signatures=module.call)
    assert "BesselI0e" in refused(tmp_path / "saved", tmp_path / "out")


def test_a_checkpoint_is_frozen_on_the_way(tmp_path: Path, tensorflow: Any) -> None:
    v1 = tensorflow.compat.v1
    heads = dict(zip(OUTPUTS, (17, 34, 32, 32), strict=True))
    with v1.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder("float32", (1, None, None, 3), name="image")
        kernel = v1.get_variable("c0", (3, 3, 3, 8))
        values = v1.nn.conv2d(image, filter=kernel, strides=16, padding="SAME")
        values = v1.nn.relu6(values)
        tensors = {}
        for name, channels in heads.items():
            weights = v1.get_variable(f"{name}/weights", (1, 1, 8, channels))
            tensors[name] = v1.nn.conv2d(values, filter=weights, strides=1, padding="SAME")
            tensors[name] = v1.identity(tensors[name], name=f"MobilenetV1/{name}/BiasAdd")
        session.run(v1.global_variables_initializer())
        expected = session.run(tensors, {image: PICTURE})
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=7)
    folder = tmp_path / "out"
    folder.mkdir()
    for source in (tmp_path / "model.ckpt-7.meta", tmp_path):
        result = convert(source, folder / "p.tflite", "--size", "33x49")
        assert result.exit_code == 0, result.stderr
        outputs = invoked(folder / "p.tflite")
        assert list(outputs) == list(OUTPUTS)
        for name, values in expected.items():
            np.testing.assert_allclose(outputs[name], values, rtol=1e-4, atol=1e-5)
    (tmp_path / "model.ckpt-7.index").unlink()
    assert "beside it" in refused(tmp_path / "model.ckpt-7.meta", tmp_path / "gone")
