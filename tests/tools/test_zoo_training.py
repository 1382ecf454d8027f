"""What MobileNets are trained with, and that they learn: targets, matches, losses, commands."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import cv2
import gestures
import numpy as np
import people
import pytest
import shapes
from click.testing import CliRunner, Result
from skeletons import STANDING

from edgecam.cli.main import cli
from edgecam.core.keypoints import NAMES
from edgecam.core.result import Box
from edgecam.inference import catalog as bundled
from edgecam.inference.decoders import anchors
from edgecam.inference.decoders.posenet_tfjs import decode_multiple_poses
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.convert.ssd import RAW_SCALES
from edgecam.tools.convert.ssd_boxes import BoxCoder, decoded
from edgecam.tools.evaluate.accuracy import metric_of
from edgecam.tools.train import boxes, coco, poses, training

needs_keras = pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="trains with TensorFlow's Keras"
)
needs_coco = pytest.mark.skipif(
    not importlib.util.find_spec("pycocotools"), reason="reads annotations with pycocotools"
)


def standing(x: float, y: float, unit: float) -> np.ndarray:
    """[17, 3] pixels and visibility of a person whose hips are at (x, y)."""
    found = np.array([[*STANDING[name], 2.0] for name in NAMES], np.float32)
    found[:, :2] = found[:, :2] * [unit, -unit] + [x, y]
    return found


@pytest.mark.parametrize(("side", "stride"), [(257, 16), (353, 16), (257, 8)])
def test_targets_decode_to_the_keypoints_that_they_were_made_of(side: int, stride: int) -> None:
    known = np.stack([standing(70, 120, 52), standing(190, 130, 48)])
    found = poses.targets(known, (side, side), stride)
    logits = np.where(found["heatmap"] > 0, 6.0, -6.0).astype(np.float32)
    offsets, *displacements = (found[name] * stride for name in OUTPUTS[1:])
    decoded_poses = decode_multiple_poses(
        logits,
        offsets,
        (displacements[0], displacements[1]),
        stride=stride,
        max_poses=5,
        score_threshold=0.5,
        nms_radius_px=20.0,
    )
    assert len(decoded_poses) == 2
    for person in known:
        errors = [np.abs(pose.xy - person[:, :2]).max() for pose in decoded_poses]
        assert min(errors) < 0.01


def test_what_is_not_annotated_counts_nowhere() -> None:
    person = standing(70, 120, 52)
    person[9] = 0.0  # the left wrist, the end of edge 6
    found = poses.targets(person[None], (257, 257), 16)
    assert not found["heatmap"][..., 9].any()
    assert not found["offset_2" + poses.MASK][..., [9, 26]].any()
    assert not found["displacement_fwd_2" + poses.MASK][..., [6, 22]].any()
    assert found["displacement_fwd_2" + poses.MASK][..., [5, 21]].any()


def test_a_mirrored_person_keeps_left_and_right() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    person = standing(70, 60, 20)
    mirrored_image, found = poses.mirrored(image, person[None])
    assert found[0, 5, 0] == pytest.approx(199 - person[6, 0])
    again = poses.mirrored(mirrored_image, found)[1][0]
    np.testing.assert_allclose(again, person, atol=1e-4)


def test_matched_anchors_decode_to_the_boxes() -> None:
    rows = anchors.grid([(8, 8), (4, 4), (2, 2), (1, 1), (1, 1), (1, 1)])
    wanted = np.array([[0.1, 0.2, 0.4, 0.6], [0.5, 0.55, 0.56, 0.62]], np.float32)
    example = coco.Example(np.zeros((8, 8, 3), np.uint8), wanted, np.array([1, 0]), np.zeros(0))
    encodings, scores, counts = boxes.match(example, rows, 3)
    found = decoded(BoxCoder(rows, RAW_SCALES), encodings)
    for number, (box, label) in enumerate(zip(wanted, (1, 0), strict=True)):
        on = (counts == 1.0) & (scores[:, label + 1] == 1.0)
        assert on.any(), number
        corners = np.hstack((found[on, :2] - found[on, 2:] / 2, found[on, :2] + found[on, 2:] / 2))
        np.testing.assert_allclose(corners, np.tile(box, (on.sum(), 1)), atol=1e-5)
    assert (scores[counts == 0.0] == [1, 0, 0, 0]).all()
    # What counts as background covers no thing by two fifths.
    assert boxes.iou(wanted, rows)[:, counts == 0.0].max() < 0.4


@needs_coco
def test_a_damaged_picture_of_a_set_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations = shapes.write(tmp_path, 3, seed=1)
    (tmp_path / "images" / "00001.jpg").write_bytes(b"no picture")
    found = coco.load(annotations, tmp_path / "images", (97, 129), "letterbox")
    assert (len(found.examples), found.passed_over) == (2, 1)
    assert "00001.jpg: not a picture that can be decoded: expected JPEG, PNG" in caplog.text
    assert "; passed over" in caplog.text


@needs_coco
def test_annotations_lie_where_the_picture_does(tmp_path: Path) -> None:
    annotations = shapes.write(tmp_path, 3, seed=1)
    examples = coco.load(annotations, tmp_path / "images", (97, 129), "letterbox").examples
    truth = coco.coco.load(annotations, tmp_path / "images")
    for example, picture in zip(examples, truth.pictures, strict=True):
        resizer = coco.Resizer(97, 129, "letterbox")
        fit = resizer.fit(picture.width_px, picture.height_px)
        entries = [e for e in truth.content["annotations"] if e["image_id"] == picture.id]
        for row, entry in zip(example.boxes * [97, 129, 97, 129], entries, strict=True):
            back = fit.box_to_source(Box(row[1], row[0], row[3], row[2]))
            x, y, width, height = entry["bbox"]
            found = (back.x_min, back.y_min, back.x_max - back.x_min, back.y_max - back.y_min)
            np.testing.assert_allclose(found, (x, y, width, height), atol=1e-3)


def test_the_rate_rises_and_falls() -> None:
    shares = [training.share_of_rate(step, 200) for step in range(1, 201)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == 1.0
    assert shares[9:] == sorted(shares[9:], reverse=True)
    assert 0.0 < shares[-1] < 0.001


def test_every_picture_is_drawn_as_often_as_another() -> None:
    drawn = training.shuffled(7, 3, np.random.default_rng(0))
    places = [place for _ in range(7) for place in next(drawn)]
    assert np.bincount(places).tolist() == [3] * 7


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["train", *map(str, arguments)], catch_exceptions=False)


def losses(result: Result) -> list[float]:
    return [float(text) for text in re.findall(r"loss +([0-9.]+)", result.stderr)]


def opened(path: Path) -> Model:
    card = bundled.card_of(path)
    assert card is not None
    assert card.fields["command"].startswith("edgecam train ")
    return Model(ModelSettings(path=str(path)), InferenceSettings(probe=False))


@needs_keras
@needs_coco
def test_a_posenet_learns(tmp_path: Path) -> None:
    annotations = people.write(tmp_path, 40, seed=1)
    result = run(
        *("pose", "--images", tmp_path / "images", "--annotations", annotations),
        *("--alpha", 0.25, "--size", "81x81", "--steps", 40, "--batch", 8, "--rate", 0.003),
        *("-o", tmp_path / "pose.tflite"),
    )
    assert result.exit_code == 0, result.output
    reported = losses(result)
    assert np.mean(reported[-5:]) < 0.6 * np.mean(reported[:3])
    model = opened(tmp_path / "pose.tflite")
    assert metric_of(model) == "keypoints"
    assert (model.resizer.height_px, model.resizer.width_px) == (81, 81)


@needs_keras
@needs_coco
@pytest.mark.parametrize("heads", ["ssdlite", "ssd"])
def test_an_ssd_learns(heads: str, tmp_path: Path) -> None:
    annotations = shapes.write(tmp_path, 40, seed=1)
    few = shapes.write(tmp_path / "few", 4, seed=2)
    images = ("--images", tmp_path / "images", "--annotations", annotations)
    tested = ("--test-images", tmp_path / "few" / "images", "--test-annotations", few)
    size = ("--heads", heads, "--alpha", 0.25, "--size", "96x96", "--batch", 8, "--rate", 0.003)
    result = run("ssd", *images, *tested, *size, "--steps", 40, "-o", tmp_path / "slim.tflite")
    assert result.exit_code == 0, result.output
    reported = losses(result)
    assert np.mean(reported[-5:]) < 0.6 * np.mean(reported[:3])
    assert len(re.findall(r"step \d+: AP ", result.stderr)) == 4
    assert "slim_raw" in result.stdout
    assert opened(tmp_path / "slim.tflite").decoder.labels == shapes.LABELS
    assert opened(tmp_path / "slim_raw.tflite").decoder.labels == shapes.LABELS
    # It goes on where that one ended, and says which layers it has of it.
    begin = ("--weights", tmp_path / "slim.keras", "--steps", 3, "-o", tmp_path / "on.tflite")
    result = run("ssd", *images, *size, *begin)
    assert result.exit_code == 0, result.output
    kept = re.search(r"kept the weights of (\d+) of (\d+) layers: Conv1, bn_Conv1", result.stderr)
    assert kept is not None
    assert kept[1] == kept[2]
    assert np.mean(losses(result)) < 0.75 * np.mean(reported[:3])


@needs_keras
def test_a_classifier_is_fine_tuned(tmp_path: Path) -> None:
    gestures.write(tmp_path / "pictures", 30, seed=1)
    (tmp_path / "pictures" / ".cache").mkdir()
    (tmp_path / "pictures" / "wave" / "000-damaged.png").write_bytes(b"no picture")
    result = run(
        *("classifier", tmp_path / "pictures", "--fine-tune", "--size", "97x97", "--batch", 8),
        *("--frozen-steps", 40, "--steps", 60, "-o", tmp_path / "g.tflite"),
    )
    assert result.exit_code == 0, result.output
    assert "27 layers begin with the weights of posenet_mobilenet_v1_075_fp16" in result.stderr
    assert "wave/000-damaged.png: not a picture that can be decoded; passed over" in result.stderr
    right = re.search(r"held out: (\d+) of 18 right", result.stdout)
    assert right is not None
    assert int(right[1]) >= 10
    model = opened(tmp_path / "g.tflite")
    assert model.decoder.family == "classifier"
    assert model.decoder.labels == ("none", "point", "wave")


def test_what_cannot_be_trained_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gestures.write(tmp_path / "pictures", 10, seed=1)
    output = ("-o", tmp_path / "x.tflite")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for arguments, words in (
        (("classifier", tmp_path / "pictures", *output), "pip install 'edgecam[tensorflow]'"),
        (("classifier", tmp_path / "none", *output), "one folder for each label"),
        (("classifier", tmp_path, "-o", tmp_path / "no" / "x.tflite"), "make it first"),
        (("classifier", tmp_path / "pictures", "--labels", "", *output), "two labels at least"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("edgecam: error: ")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("x.*"))
    picture = cv2.imread(str(tmp_path / "pictures" / "wave" / "000.png"))
    assert picture.shape == (gestures.HEIGHT_PX, gestures.WIDTH_PX, 3)
