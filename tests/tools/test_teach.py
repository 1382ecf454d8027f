"""Teaching: a head over frozen features, from folders and from a camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import gestures
import numpy as np
import pytest
from click.testing import CliRunner, Result
from normalisation import in_tflite

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.inference.model import Model
from edgecam.inference.tflite.file import read
from edgecam.inference.tflite.metadata import metadata, normalization
from edgecam.sources.picture import decode_image
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.train import labelled_images as labelled
from edgecam.tools.train.head import dense, graft, softmax
from edgecam.tools.train.head.backbone import find
from edgecam.tools.train.head.graft import Head
from edgecam.tools.train.labelled_images import TeachError, held_out

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
SMALL = ("--input-size", "129x129")
BACKBONES = ("posenet", "posenet-fp16")


def teach(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["teach", *map(str, arguments)], catch_exceptions=False)


def refused(*arguments: object) -> str:
    result = teach(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesson")
    gestures.write(folder / "pictures", 60, seed=1)
    result = teach(folder / "pictures", "-o", folder / "gestures.tflite", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    (folder / "outcome.json").write_text(result.stdout)
    return folder


def test_held_out_pictures_are_counted(lesson: Path) -> None:
    outcome = json.loads((lesson / "outcome.json").read_text())
    confusion = np.array(outcome["confusion"])
    assert outcome["labels"] == ["none", "point", "wave"]
    assert confusion.sum(axis=1).tolist() == [12, 12, 12]
    assert outcome["accuracy"] == pytest.approx(confusion.trace() / 36)
    assert outcome["accuracy"] >= 0.85


def test_the_model_knows_pictures_that_it_never_saw(lesson: Path, tmp_path: Path) -> None:
    gestures.write(tmp_path, 20, seed=2)
    right = 0
    for label in gestures.LABELS:
        command = ["--model", str(lesson / "gestures.tflite"), "--source", str(tmp_path / label)]
        result = CliRunner().invoke(cli, [*command, "--jsonl", str(tmp_path / "out.jsonl")])
        assert result.exit_code == 0, result.output
        lines = (tmp_path / "out.jsonl").read_text().splitlines()
        right += sum(json.loads(line)["classes"][0]["label"] == label for line in lines)
    assert right >= 0.85 * 60


def test_the_file_says_what_it_is(lesson: Path) -> None:
    path = lesson / "gestures.tflite"
    file = read(path)
    assert [op.name for op in file.main.ops[-3:]] == ["MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    assert in_tflite(file) == []
    assert file.inputs[0].shape == (1, 129, 129, 3)
    found = metadata(file)
    assert found.files["labels.txt"] == b"none\npoint\nwave\n"
    stated = normalization(found)
    assert stated is not None
    assert stated.mean == (127.5, 127.5, 127.5)
    card = bundled.card_of(path)
    assert card is not None
    assert card.fields["licence"] == "Apache-2.0"
    assert card.fields["command"].startswith("edgecam teach ")
    bundled.verify(card, path.read_bytes())


@pytest.mark.parametrize("name", BACKBONES)
def test_features_are_those_of_the_heads(name: str) -> None:
    """PoseNet's heatmap is linear in the last features, so their means relate in the same way."""
    whole = read(bundled.resolve(name))
    backbone = find(whole)
    picture = decode_image((ROOT / "docs" / "overlay.jpg").read_bytes())
    height, width = whole.inputs[0].shape[1:3]
    image = cv2.resize(picture, (width, height))[None].astype(np.float32) / 127.5 - 1.0
    row = invoked(graft.features(backbone, None), image)["features"]
    names = [op.outputs[0] for op in whole.main.ops]
    heatmap = next(
        op
        for op, tensor in zip(whole.main.ops, names, strict=True)
        if whole.main.tensors[tensor].name == "heatmap"
    )
    weights, bias = (constant(whole, tensor) for tensor in heatmap.inputs[1:])
    expected = invoked(whole.data, image)["heatmap"].mean(axis=(1, 2))
    last = row[:, -backbone.maps[-1].shape[3] :]
    np.testing.assert_allclose(last @ weights.reshape(17, -1).T + bias, expected, atol=2e-4)


def constant(file: object, tensor: int) -> np.ndarray:
    while not file.main.tensors[tensor].is_constant:
        tensor = file.producer(tensor).inputs[0]
    return file.constant(tensor).astype(np.float32)


def invoked(data: bytes, image: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = runtime.find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in details}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the classifier in ../shared")
def test_a_uint8_classifier_is_a_backbone_of_any_size() -> None:
    backbone = find(read(SHARED / "models" / "mobilenet_v1_0.25_128_quant.tflite"))
    layer = len(backbone.maps) - 1
    assert backbone.maps[layer].shape[3] == 256
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 256)).astype(np.float32)
    head = Head(layer, ("a", "b"), ((weights, np.zeros(2, np.float32)),))
    made = graft.classifier(backbone, (96, 160), head, "two")
    image = rng.integers(0, 256, (1, 96, 160, 3), dtype=np.uint8)
    features = invoked(graft.features(backbone, (96, 160)), image)["features"]
    logits = (features[:, -256:] @ weights.T)[0].astype(np.float64)
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    np.testing.assert_allclose(invoked(made, image)["scores"][0], expected, atol=1e-5)


def test_a_detector_has_no_single_map_of_features() -> None:
    with pytest.raises(ConvertError, match="one map of features"):
        find(read(bundled.resolve("ssdlite")))


def test_what_is_written_reads_back_the_same() -> None:
    """Tensors, weights, quantisation and operators of the backbone, byte for byte."""
    whole = read(bundled.resolve("posenet"))
    backbone = find(whole)
    made = read(graft.features(backbone, None))
    kept = {tensor.name: tensor for tensor in made.main.tensors}
    old = {tensor.index: tensor for tensor in whole.main.tensors}
    for op, again in zip(whole.main.ops, made.main.ops, strict=False):
        if old[op.outputs[0]].name not in kept:
            break
        assert (op.name, op.version) == (again.name, again.version)
        for before, after in zip(op.inputs, again.inputs, strict=True):
            one, other = old[before], made.main.tensors[after]
            assert (one.name, one.shape, one.type) == (other.name, other.shape, other.type)
            assert (one.scales, one.zero_points) == (other.scales, other.zero_points)
            assert not one.is_constant or np.array_equal(
                whole.constant(before), made.constant(after)
            )
    assert len(made.main.ops) == 29 + len(backbone.maps) * 2


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    classes = np.repeat([0, 1, 2], (40, 25, 10))
    features = rng.normal(size=(75, 12)) * rng.uniform(0.1, 20, 12) + rng.normal(size=12) * 5
    features[np.arange(75), classes] += 1.5 * features.std(axis=0)[classes]
    features[:, 11] = 4.0
    return features, classes


def test_the_head_is_where_another_minimiser_ends() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="another minimiser: scipy")
    features, classes = problem()
    found = softmax.fit(features, classes, 3, 1e-2)
    varying = features[:, :11]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    share = 1.0 / (3.0 * np.bincount(classes)[classes])

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(3, 12)
        logits = scaled @ weights[:, :11].T + weights[:, 11]
        right = logits[np.arange(75), classes] - np.logaddexp.reduce(logits, axis=1)
        return float(-(share @ right) + 0.005 * np.square(weights[:, :11]).sum())

    best = optimize.minimize(loss, np.zeros(36), method="BFGS", options={"gtol": 1e-6})
    weights = best.x.reshape(3, 12)
    logits = scaled @ weights[:, :11].T + weights[:, 11]
    expected = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    np.testing.assert_allclose(found.probabilities(features), expected, atol=1e-4)


def test_a_feature_that_never_changes_gets_no_weight() -> None:
    features, classes = problem()
    assert np.all(softmax.fit(features, classes, 3, 1e-3).weights[:, 11] == 0.0)


def test_the_last_ones_of_each_label_are_held_out() -> None:
    classes = np.array([0] * 10 + [1] * 23)
    assert np.flatnonzero(held_out(classes)).tolist() == [8, 9, 29, 30, 31, 32]


def test_each_picture_goes_through_the_network_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is fitted and chosen; then the model is tried on one picture of each label."""
    gestures.write(tmp_path / "all", 10, seed=8)
    invoke, invoked_with = Model.invoke, []

    def counted(self: Model, staged: Any) -> Any:
        invoked_with.append(self)
        return invoke(self, staged)

    monkeypatch.setattr(Model, "invoke", counted)
    result = teach(tmp_path / "all", "-o", tmp_path / "g.tflite", *SMALL)
    assert result.exit_code == 0, result.output
    assert [invoked_with.count(model) for model in dict.fromkeys(invoked_with)] == [30, 3]


def test_what_makes_no_lesson_is_refused_in_a_line(tmp_path: Path) -> None:
    gestures.write(tmp_path / "all", 10, seed=4)
    output = tmp_path / "x.tflite"
    few = tmp_path / "all" / "wave"
    assert "'jump' has no folder" in refused(
        tmp_path / "all", "--labels", "wave,jump", "-o", output
    )
    assert "two labels at least" in refused(tmp_path / "all", "--labels", "wave", "-o", output)
    assert "a folder for each label" in refused(few, "-o", output)
    assert "given twice" in refused(tmp_path / "all", "--labels", "wave,wave", "-o", output)
    (few / "000.png").unlink()
    assert "'wave' has 9" in refused(tmp_path / "all", "-o", output)
    assert "no folder" in refused(tmp_path / "all", "-o", tmp_path / "none" / "x.tflite")
    assert not list(tmp_path.glob("x.*"))


def test_a_damaged_picture_is_named_and_passed_over(tmp_path: Path) -> None:
    gestures.write(tmp_path / "all", 11, seed=5)
    whole = (tmp_path / "all" / "wave" / "003.png").read_bytes()
    (tmp_path / "all" / "wave" / "003.png").write_bytes(whole[:200])
    result = teach(tmp_path / "all", "-o", tmp_path / "x.tflite", *SMALL)
    assert result.exit_code == 0, result.output
    assert "all/wave/003.png: the PNG is cut short; passed over" in result.stderr
    assert "fitted to all 32 pictures" in result.stdout
    (tmp_path / "all" / "wave" / "004.png").write_bytes(whole[:200])
    result = teach(tmp_path / "all", "-o", tmp_path / "y.tflite", *SMALL)
    assert result.exit_code == 1
    assert "'wave' has 9 readable pictures" in result.stderr
    assert not list(tmp_path.glob("y.*"))


def test_many_damaged_pictures_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    gestures.write(tmp_path / "all", 12, seed=5)
    for number in range(40):
        (tmp_path / "all" / "wave" / f"damaged-{number:02}.jpg").write_bytes(b"\xff\xd8\xff")
    result = teach(tmp_path / "all", "-o", tmp_path / "x.tflite", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("passed over") == 11
    assert "40 pictures passed over in all" in result.stderr
    outcome = json.loads(result.stdout)
    assert (outcome["pictures"], outcome["unreadable"]) == (36, 40)


def test_folders_of_other_programs_are_no_labels(tmp_path: Path) -> None:
    gestures.write(tmp_path, 10, seed=5)
    for name in (".git", ".cache", "__pycache__", "__MACOSX", "@eaDir"):
        (tmp_path / name).mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "wave" / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "wave" / "notes.txt").write_text("none")
    found = labelled.folders(tmp_path, None)
    assert {label: len(files) for label, files in found.items()} == {
        "none": 10,
        "point": 10,
        "wave": 10,
    }


@pytest.mark.parametrize("label", ["..", ".git", "a/b", "a\nb", " a", "", "x" * 101, "__x", "@x"])
def test_a_label_is_a_plain_name(label: str) -> None:
    with pytest.raises(TeachError, match="is no plain name") as caught:
        labelled.check_labels(["wave", label])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("where", ["picturs", "picturs/", "./picturs", "/nowhere/picturs"])
@pytest.mark.parametrize("labels", [(), ("--labels", "wave,none")])
def test_a_folder_misspelt_is_no_camera(
    where: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    line = refused(where, *labels, "-o", tmp_path / "x.tflite")
    assert f"{where}: there is no such folder" in line
    for camera in ("a camera index", "rtsp://", "http://", "picamera"):
        assert camera in line


def test_pictures_that_tell_nothing_are_called_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for label in ("one", "other"):
        (tmp_path / "all" / label).mkdir(parents=True)
        for number in range(60):
            noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "all" / label / f"{number:02}.png"), noise)
    result = teach(tmp_path / "all", "-o", tmp_path / "x.tflite", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert "hardly better than guessing" in result.stderr
    (warning,) = json.loads(result.stdout)["warnings"]
    assert f"edgecam: {warning}\n" in result.stderr


def clip(path: Path, rate_hz: int, seconds_each: float) -> None:
    """A clip in which a person waves, then points, then does neither."""
    size = (gestures.WIDTH_PX, gestures.HEIGHT_PX)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, size)
    rng = np.random.default_rng(6)
    for label in gestures.LABELS:
        for _ in range(int(rate_hz * seconds_each)):
            writer.write(gestures.picture(label, rng))
    writer.release()


def test_a_camera_is_watched_label_after_label(tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi", 30, 1.4)
    command = (tmp_path / "clip.avi", "--labels", "wave,point,none", "-o", tmp_path / "g.tflite")
    timing = ("--pictures", 12, "--rate-hz", 15, "--countdown-s", 0.5)
    result = teach(*command, *timing, *SMALL, "--keep", tmp_path / "kept")
    assert result.exit_code == 0, result.output
    assert [f"{label}: 12 of 12" in result.stderr for label in gestures.LABELS] == [True] * 3
    for label in gestures.LABELS:
        assert len(list((tmp_path / "kept" / label).glob("*.jpg"))) == 12
    # What was kept teaches the same again.
    result = teach(tmp_path / "kept", "-o", tmp_path / "h.tflite", *SMALL)
    assert result.exit_code == 0, result.output
    result = teach(*command, "--pictures", 60, "--rate-hz", 30, "--countdown-s", 0.1, *SMALL)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("edgecam: error: ")
    assert "clip.avi ended with" in last
    assert "of 60 pictures of" in last


def test_a_camera_needs_labels_and_a_new_folder(tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi", 10, 0.3)
    result = teach(tmp_path / "clip.avi", "-o", tmp_path / "g.tflite")
    assert result.exit_code == 2
    assert "--labels wave,point,none" in result.stderr
    labels = ("--labels", "wave,none", "-o", tmp_path / "g.tflite")
    (tmp_path / "kept" / "wave").mkdir(parents=True)
    (tmp_path / "kept" / "wave" / "mine.jpg").write_bytes(b"")
    message = refused(tmp_path / "clip.avi", *labels, "--keep", tmp_path / "kept")
    assert "holds files already" in message


def test_what_was_taught_by_default_runs_in_a_browser(lesson: Path, tmp_path: Path) -> None:
    """The backbone computes in int8, TensorFlow.js in float: the same labels come out."""
    taught = lesson / "gestures.tflite"
    command = ["convert", str(taught), "--to", "tfjs", "-o", str(tmp_path / "web")]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    said = json.loads((tmp_path / "web" / "model.json").read_text())["userDefinedMetadata"]
    assert said["labels"] == ["none", "point", "wave"]
    assert (said["mean"], said["fit"]) == ([127.5] * 3, "letterbox")
    again = convert(tmp_path / "web" / "model.json", Options()).data
    same = 0
    paths = sorted((lesson / "pictures").glob("*/*"))[::6]
    for path in paths:
        picture = cv2.resize(decode_image(path.read_bytes()), (129, 129))
        image = picture[None].astype(np.float32) / 127.5 - 1.0
        wanted = invoked(taught.read_bytes(), image)["scores"][0]
        same += int(invoked(again, image)["scores"][0].argmax() == wanted.argmax())
    assert same >= 0.9 * len(paths)


def test_dense_layers_tell_apart_what_no_plane_does() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(400, 2)) * 5.0 + 40.0
    classes = ((points[:, 0] > 40.0) ^ (points[:, 1] > 40.0)).astype(np.int64)
    found = dense.fit(points[:300], classes[:300], 2, (16, 8), 0.1)
    assert [weights.shape for weights, _ in found.layers] == [(16, 2), (8, 16), (2, 8)]
    right = found.probabilities(points[300:]).argmax(axis=1) == classes[300:]
    assert right.mean() >= 0.9
    plane = softmax.fit(points[:300], classes[:300], 2, 1e-3)
    assert (plane.probabilities(points[300:]).argmax(axis=1) == classes[300:]).mean() < 0.7


def test_a_layer_of_a_taught_model_gets_dense_layers(lesson: Path, tmp_path: Path) -> None:
    """The model has a head of its own already; its layer is taken all the same."""
    output = tmp_path / "again.tflite"
    own = ("--backbone", lesson / "gestures.tflite", "--layer", "Conv2d_6_pointwise")
    result = teach(
        *(lesson / "pictures", "-o", output, *own, "--hidden", "40,20", "--dropout", 0.2, "--json")
    )
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["layer"].endswith("Conv2d_6_pointwise/Relu6")
    assert outcome["accuracy"] >= 0.7
    file = read(output)
    assert [op.name for op in file.main.ops[-5:]] == ["MEAN", *["FULLY_CONNECTED"] * 3, "SOFTMAX"]
    shapes = [file.main.tensors[op.inputs[1]].shape for op in file.main.ops[-4:-1]]
    assert [shape[0] for shape in shapes] == [40, 20, 3]


def test_a_layer_that_is_not_there_is_refused_with_its_like() -> None:
    path = bundled.resolve("posenet")
    with pytest.raises(ConvertError, match="near it are Conv2d_13_pointwise"):
        find(read(path), "Conv2d_13_pointwize")
