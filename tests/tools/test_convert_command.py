"""``edgecam convert`` as a person runs it: what it writes, and one line where it cannot."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tfjs_graphs import GraphModel, resnet

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference.tflite.file import read
from edgecam.inference.tflite.metadata import metadata
from edgecam.tools.convert import conversion
from edgecam.tools.convert.conversion import Options
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.posenet import OUTPUTS, size_step, valid_size
from edgecam.tools.convert.summary import outline

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

CORAL = Path(__file__).parents[3] / "shared" / "models"
RNG = np.random.default_rng(3)


def normal(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(np.float32)


def posenet(folder: Path, shard_bytes: int = 1 << 22) -> Path:
    """A network of PoseNet's outputs, with one convolution instead of 27."""
    model = GraphModel()
    name = model.conv(
        "Conv2d_0", model.image(33, 33), normal(3, 3, 3, 8), normal(8), op="_FusedConv2D", stride=16
    )
    for output, channels in zip(OUTPUTS, (17, 34, 32, 32), strict=True):
        full = f"MobilenetV1/{output}/BiasAdd"
        weights = normal(1, 1, 8, channels)
        model.outputs.append(model.conv(full, name, weights, normal(channels), op="_FusedConv2D"))
    return model.write(folder, shard_bytes)


def convert(source: Path, output: Path, *arguments: str) -> Result:
    command = ["convert", str(source), "-o", str(output), *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def refused(source: Path, folder: Path, *arguments: str) -> str:
    """Return the one line; check that nothing was left behind."""
    folder.mkdir()
    result = convert(source, folder / "x.tflite", *arguments)
    assert result.exit_code == 1
    assert list(folder.iterdir()) == []
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_posenet_of_one_size_keeps_it_without_another(tmp_path: Path) -> None:
    result = convert(posenet(tmp_path / "web"), tmp_path / "p.tflite")
    assert result.exit_code == 0, result.stderr
    file = read(tmp_path / "p.tflite")
    assert file.main.tensors[file.main.inputs[0]].shape == (1, 33, 33, 3)
    shapes = {row.name: row.shape for row in outline(tmp_path / "web" / "model.json").nodes}
    assert (shapes["image"], shapes["Conv2d_0"]) == ((1, 33, 33, 3), (1, 3, 3, 8))


def test_posenet_gets_its_names_its_normalisation_and_a_valid_size(tmp_path: Path) -> None:
    result = convert(posenet(tmp_path / "web"), tmp_path / "p.tflite", "--size", "256x480")
    assert result.exit_code == 0, result.stderr
    assert "257x481 instead of 256x480" in result.stderr
    file = read(tmp_path / "p.tflite")
    assert [file.main.tensors[place].name for place in file.main.outputs] == list(OUTPUTS)
    assert file.main.tensors[file.main.inputs[0]].shape == (1, 257, 481, 3)
    found = metadata(file)
    assert [output.name for output in found.outputs] == list(OUTPUTS)
    assert (found.inputs[0].mean, found.inputs[0].std) == ((127.5,) * 3, (127.5,) * 3)


def test_a_size_past_every_camera_is_refused(tmp_path: Path) -> None:
    source = posenet(tmp_path / "web")
    for size in ("99999x257", "257x99999999999"):
        result = convert(source, tmp_path / "p.tflite", "--size", size)
        assert result.exit_code == 2
        assert "expected sides of 1 to 7680 pixels" in result.stderr


def test_quantises_on_the_way_and_refuses_what_it_costs(tmp_path: Path) -> None:
    pytest.importorskip("litert_quantizer", reason="the extra [quantize] is not installed")
    source, target = posenet(tmp_path / "web"), tmp_path / "p.tflite"
    result = convert(source, target, "--quantize", "int8", "--force")
    assert result.exit_code == 0, result.stderr
    assert "mean OKS of" in result.stdout
    kinds = {t.name: t.type for t in read(target).main.tensors if t.is_constant}
    assert "INT8" in kinds.values()
    message = refused(source, tmp_path / "a", "--quantize", "dynamic", "--max-loss", "0")
    assert "x.tflite is not written: it lost 0." in message


def test_resnet_gets_the_means_that_it_was_trained_with(tmp_path: Path) -> None:
    source = resnet((65, 65)).write(tmp_path / "web")
    result = convert(source, tmp_path / "p.tflite", "--size", "65x65")
    assert result.exit_code == 0, result.stderr
    found = metadata(read(tmp_path / "p.tflite"))
    assert [output.name for output in found.outputs] == list(OUTPUTS)
    np.testing.assert_allclose(found.inputs[0].mean, (123.15, 115.90, 103.06), rtol=1e-6)
    assert found.inputs[0].std == (1, 1, 1)


def test_normalisation_can_be_given(tmp_path: Path) -> None:
    source = posenet(tmp_path / "web")
    convert(source, tmp_path / "p.tflite", "--mean", "1,2,3", "--std", "4")
    found = metadata(read(tmp_path / "p.tflite")).inputs[0]
    assert (found.mean, found.std) == ((1, 2, 3), (4, 4, 4))
    assert convert(source, tmp_path / "q.tflite", "--mean", "1").exit_code == 2
    assert convert(source, tmp_path / "q.tflite", "--mean", "1", "--std", "0").exit_code == 2


def test_sizes_go_to_the_nearest_that_fits_the_grid() -> None:
    assert valid_size((256, 248)) == (257, 241)
    assert valid_size((257, 249)) == (257, 257)
    assert valid_size((1, 500)) == (17, 497)


def test_a_resnet_of_stride_32_wants_sides_of_32n_plus_1() -> None:
    assert size_step((1, 9, 9, 17), 257) == 32
    assert size_step((1, 17, 17, 17), 257) == 16
    assert size_step((1, 33, 33, 17), 257) == 16
    assert valid_size((337, 257), 32) == (353, 257)


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    whole = posenet(tmp_path / "one")
    document = json.loads(whole.read_text())
    data = (whole.parent / document["weightsManifest"][0]["paths"][0]).read_bytes()
    names = [f"{at}.bin" for at in range(0, len(data), 1001)]
    for name in names:
        start = int(name.removesuffix(".bin"))
        (whole.parent / name).write_bytes(data[start : start + 1001])
    convert(whole, tmp_path / "a.tflite")
    document["weightsManifest"][0]["paths"] = names
    whole.write_text(json.dumps(document))
    convert(whole, tmp_path / "b.tflite")
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


def first_weight(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = document["weightsManifest"][0]["weights"][0]
    return entry


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def swap_sides(document: dict[str, Any]) -> None:
    first_weight(document)["shape"].reverse()


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a shape of other size": (
        lambda document: first_weight(document).update(shape=[3, 3, 3, 9]),
        "its manifest describes",
    ),
    "a shape of equal size": (swap_sides, "the manifest gives 'Conv2d_0/w' the shape"),
    "a negative side": (
        lambda document: first_weight(document).update(shape=[-3, 3, 3, 8]),
        r"have the shape \[-3, 3, 3, 8\]",
    ),
    "a side that is text": (
        lambda document: first_weight(document).update(shape=["3", 3, 3, 8]),
        "have the shape",
    ),
    "an unknown type": (
        lambda document: first_weight(document).update(dtype="complex64"),
        "stored as complex64",
    ),
    "no name": (lambda document: first_weight(document).pop("name"), "no sound model"),
    "no weights of a node": (
        lambda document: first_weight(document).update(name="other"),
        "no weights for the node 'Conv2d_0/w'",
    ),
    "no manifest": (
        lambda document: document.pop("weightsManifest"),
        "no nodes or layers with weights",
    ),
    "a shard elsewhere": (
        lambda document: document["weightsManifest"][0].update(paths=["../../etc/passwd"]),
        "outside of the model's folder",
    ),
    "an unknown op": (
        lambda document: document["modelTopology"]["node"][1 + 2].update(op="Cumsum"),
        r"cannot be converted: Cumsum \(1\)",
    ),
    "a layers model": (
        lambda document: document.update(modelTopology={"model_config": {}}),
        "no sound model: KeyError",
    ),
    "a loop": (
        lambda document: document["modelTopology"]["node"][3].update(input=["Conv2d_0"] * 3),
        "loop through",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_json_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    source = posenet(tmp_path / "web")
    change, expected = DAMAGE[damage]
    edit(source, change)
    assert re.search(expected, refused(source, tmp_path / "out.tflite"))


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to everything inside a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in inside:
        found.append((*way, key))
        if isinstance(part, dict | list):
            found += places(part, (*way, key))
    return found


def test_no_damage_gives_more_than_one_line(tmp_path: Path) -> None:
    """Six hundred documents, each with one value replaced, moved or gone."""
    source = resnet((33, 33)).write(tmp_path)
    whole = source.read_text()
    ways = places(json.loads(whole))
    draw = random.Random(4)
    values = [None, -1, 0, 10**18, 1.5, True, "x", "3", "a\nb", [], {}, [1, 2, 3]]
    refusals = []
    for _ in range(600):
        document = json.loads(whole)
        *way, last = draw.choice(ways)
        inside = document
        for key in way:
            inside = inside[key]
        match draw.randrange(3):
            case 0:
                inside.pop(last)
            case 1:
                inside[last] = draw.choice(values)
            case 2:
                other = json.loads(whole)
                for key in draw.choice(ways):
                    other = other[key]
                inside[last] = other
        source.write_text(json.dumps(document))
        try:
            conversion.convert(source, Options((33, 33)))
        except ConvertError as error:
            refusals.append(str(error))
    assert len(refusals) > 300
    assert not [message for message in refusals if "\n" in message]


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    source = posenet(tmp_path / "web")
    shard = next(source.parent.glob("*.bin"))
    values = np.fromfile(shard, "<f4")
    values[5] = np.nan
    shard.write_bytes(values.tobytes())
    assert "the weights 'Conv2d_0/weights' hold NaN" in refused(source, tmp_path / "out.tflite")


def test_a_cut_off_shard_is_refused_in_one_line(tmp_path: Path) -> None:
    source = posenet(tmp_path / "web")
    shard = next(source.parent.glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert "the download is cut off" in refused(source, tmp_path / "out.tflite")


def test_a_missing_shard_is_refused_in_one_line(tmp_path: Path) -> None:
    source = posenet(tmp_path / "web")
    shard = next(source.parent.glob("*.bin"))
    shard.unlink()
    assert f"cannot read the weight shard {shard}" in refused(source, tmp_path / "out.tflite")


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"{", b"[1, 2]", b"[" * 100_000])
def test_what_is_no_graph_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "model.json"
    source.write_bytes(content)
    assert "model.json" in refused(source, tmp_path / "out.tflite")


def test_a_missing_source_an_unknown_kind_and_a_missing_folder(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "model.json", tmp_path / "a.tflite")
    (tmp_path / "model.onnx").write_bytes(b"")
    assert "expected one of a folder, .h5" in refused(
        tmp_path / "model.onnx", tmp_path / "b.tflite"
    )
    result = convert(posenet(tmp_path / "web"), tmp_path / "gone" / "x.tflite")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_what_was_guessed_is_marked_wherever_the_model_goes(tmp_path: Path) -> None:
    """In the card, and from there by edgecam inspect, to people and to programs."""
    model = GraphModel()
    weights = normal(3, 3, 3, 8)
    model.outputs.append(model.conv("Conv2d_0", model.image(33, 33), weights, normal(8)))
    source, guessed = model.write(tmp_path / "web"), tmp_path / "g.tflite"
    words = "the network does not say how its input is normalised"
    assert words in convert(source, guessed).stderr
    shown = CliRunner().invoke(cli, ["inspect", str(guessed), "--json"], catch_exceptions=False)
    (warning,) = json.loads(shown.stdout)["warnings"]
    assert warning.startswith(words)
    assert words in CliRunner().invoke(cli, ["inspect", str(guessed)]).stdout
    said = convert(source, tmp_path / "s.tflite", "--mean", "127.5", "--std", "127.5")
    assert words not in said.stderr
    command = ["inspect", str(tmp_path / "s.tflite"), "--json"]
    assert json.loads(CliRunner().invoke(cli, command).stdout)["warnings"] == []


@pytest.mark.parametrize("name", ["cámara", "\U0001f600", "a'b\"c\\d", "tab\tand\x7f", "\udcff"])
def test_a_card_is_toml_whatever_the_names_are(tmp_path: Path, name: str) -> None:
    source = posenet(tmp_path / name)
    assert convert(source, tmp_path / name / "p.tflite").exit_code == 0
    card = bundled.card_of(tmp_path / name / "p.tflite")
    assert card is not None
    assert card.fields["file"] == "p.tflite"


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "x.tflite"
    old.write_bytes(b"old")
    assert convert(tmp_path / "gone.json", old).exit_code == 1
    assert old.read_bytes() == b"old"


def test_corals_decoder_is_cut_off(tmp_path: Path) -> None:
    source = CORAL / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    if not source.is_file():
        pytest.skip(f"{source.name} is not at hand")
    result = convert(source, tmp_path / "plain.tflite")
    assert result.exit_code == 0, result.stderr
    plain = read(tmp_path / "plain.tflite").main
    channels = sorted(plain.tensors[place].shape[3] for place in plain.outputs)
    assert channels == [17, 34, 64]
    assert "nothing to cut off" in refused(tmp_path / "plain.tflite", tmp_path / "out.tflite")
    assert "only Coral's decoder" in refused(source, tmp_path / "b", "--quantize", "fp16")


def test_float16_is_compared_with_float32_and_refused_if_it_lost_too_much(tmp_path: Path) -> None:
    web, target = tmp_path / "web", tmp_path / "posenet.tflite"
    assert convert(bundled.resolve("posenet-fp16"), web, "--to", "tfjs").exit_code == 0
    for shard in web.glob("*.bin"):
        # The weights came from float16: moved a little, they have something to lose again.
        weights = np.frombuffer(shard.read_bytes(), "<f4")
        shard.write_bytes((weights * RNG.uniform(0.999, 1.001, weights.size)).astype("<f4"))
    arguments = ("--size", "257x257", "--quantize", "fp16")
    made = convert(web / "model.json", target, *arguments)
    assert made.exit_code == 0, made.output
    assert "mean OKS of" in made.output
    target.unlink()
    too_much = convert(web / "model.json", target, *arguments, "--max-loss", "0")
    assert too_much.exit_code == 1
    assert "is not written: it lost" in too_much.stderr
    assert not target.exists()
    forced = convert(web / "model.json", target, *arguments, "--max-loss", "0", "--force")
    assert forced.exit_code == 0
    assert target.exists()


def test_a_network_of_no_family_is_halved_without_a_comparison(tmp_path: Path) -> None:
    model = GraphModel()
    image = model.image(9, 9)
    model.outputs.append(
        model.conv("Conv", image, normal(3, 3, 3, 8), normal(8), op="_FusedConv2D", stride=1)
    )
    target = tmp_path / "half.tflite"
    made = convert(model.write(tmp_path / "web", 1 << 22), target, "--quantize", "fp16")
    assert made.exit_code == 0, made.output
    assert "not compared with float32" in made.stderr
    assert target.exists()
