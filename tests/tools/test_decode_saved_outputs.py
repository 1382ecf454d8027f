"""Saved outputs of every family in the forms in which people save them.

Each case is one set of outputs with what it decodes to, then every legal variant of that set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecam.cli.main import cli

SIDE = 128
CELLS = 256 + 64 + 16
BOX = (0.5, 0.25, 0.25, 0.5)
PICTURE = np.zeros((SIDE, SIDE, 3), np.uint8)
Arrays = dict[str, np.ndarray]


def decode(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["decode", *map(str, arguments)])


def fault(*arguments: object) -> str:
    result = decode(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def saved(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    path = folder / "tensors.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def found(folder: Path, family: str, arrays: Mapping[str, np.ndarray], *more: object) -> Any:
    result = decode(saved(folder, arrays), "--decoder", family, *more)
    assert result.exit_code == 0, result.output
    (rows,) = json.loads(result.stdout).values()
    return rows


def yolo(pixels: bool = False) -> Arrays:
    rows = np.zeros((84, CELLS), np.float32)
    rows[:4, 5], rows[4 + 15, 5] = BOX, 0.75
    if pixels:
        rows[:4] *= SIDE
    return {"Identity": rows[None]}


def yolo_pose(pixels: bool = False) -> Arrays:
    rows = np.zeros((56, CELLS), np.float32)
    rows[:5, 5] = (*BOX, 0.75)
    rows[5:, 5] = np.tile((0.5, 0.25, 0.5), 17)
    if pixels:
        rows[5::3] *= SIDE
        rows[6::3] *= SIDE
    return {"Identity": rows[None]}


def yolo_v5() -> Arrays:
    rows = np.zeros((1, 3 * CELLS, 85), np.float32)
    rows[0, 7, :5], rows[0, 7, 5 + 15] = (*BOX, 0.75), 1.0
    return {"output_0": rows}


def end_to_end(rows: int = 300, pixels: bool = False) -> Arrays:
    values = np.zeros((1, rows, 6), np.float32)
    values[0, 0] = (0.375, 0, 0.625, 0.5, 0.75, 15)
    if pixels:
        values[:, :, :4] *= SIDE
    return {"Identity": values}


def end_to_end_pose() -> Arrays:
    values = np.zeros((1, 300, 57), np.float32)
    values[0, 0, :6] = (0.375, 0, 0.625, 0.5, 0.75, 0)
    values[0, 0, 6:] = np.tile((0.5, 0.25, 0.5), 17)
    return {"Identity": values}


def nanodet() -> Arrays:
    arrays: Arrays = {}
    for stride in (8, 16, 32):
        count = (SIDE // stride) ** 2
        arrays[f"cls_pred_stride_{stride}"] = np.zeros((1, count, 80), np.float32)
        arrays[f"dis_pred_stride_{stride}"] = np.zeros((1, count, 44), np.float32)
    # Row 0, column 2 of stride 16: its middle is (40, 8); one stride to each side.
    arrays["cls_pred_stride_16"][0, 2, 15] = 0.75
    logits = np.full((4, 11), -16.0, np.float32)
    logits[:, 1] = 16.0
    arrays["dis_pred_stride_16"][0, 2] = logits.ravel()
    return arrays


def ssd() -> Arrays:
    """As EfficientDet-Lite and MobileDet return it: several rows, of which the count says some."""
    boxes = np.zeros((1, 25, 4), np.float32)
    boxes[0, 0] = (0.0, 0.375, 0.5, 0.625)
    scores = np.zeros((1, 25), np.float32)
    scores[0, 0] = 0.75
    classes = np.zeros((1, 25), np.float32)
    classes[0, 0] = 15
    count = np.array([25], np.float32)
    return {"boxes": boxes, "classes": classes, "scores": scores, "num_detections": count}


def fomo() -> Arrays:
    grid = np.zeros((1, 16, 16, 17), np.float32)
    grid[..., 0] = 1.0
    grid[0, :8, 6:10, 0], grid[0, :8, 6:10, 16] = 0.25, 0.75
    return {"Identity": grid}


def mediapipe_person() -> Arrays:
    rows, logits = np.zeros((1, 736, 12), np.float32), np.full((1, 736, 1), -16.0, np.float32)
    # Anchor 0 at stride 32 lies at (16, 16).
    rows[0, 640, 4:8] = (16.0, 0.0, 24.0, 0.0)
    logits[0, 640] = np.log(3.0)
    return {"Identity": rows, "Identity_1": logits}


def mediapipe_pose() -> Arrays:
    rows = np.zeros((1, 39, 5), np.float32)
    rows[:, :, 0], rows[:, :, 1] = 64.0, 32.0
    return {
        "ld_3d": rows.reshape(1, 195),
        "output_poseflag": np.array([[0.75]], np.float32),
        "output_segmentation": np.zeros((1, 64, 64, 1), np.float32),
        "output_heatmap": np.zeros((1, 16, 16, 39), np.float32),
        "world_3d": np.zeros((1, 117), np.float32),
    }


def movenet() -> Arrays:
    rows = np.zeros((1, 1, 17, 3), np.float32)
    rows[0, 0] = (0.25, 0.5, 0.75)
    return {"Identity": rows}


def multipose(people: int = 6) -> Arrays:
    rows = np.zeros((1, people, 56), np.float32)
    rows[0, :, :51] = np.tile((0.25, 0.5, 0.5), 17)
    rows[0, :, 55] = 0.75
    return {"Identity": rows}


def heads() -> Arrays:
    rows = {"center": 1, "kpt_heatmap": 17, "kpt_regress": 34, "kpt_offset": 34}
    arrays = {name: np.zeros((1, 32, 32, depth), np.float32) for name, depth in rows.items()}
    arrays["center"] -= 4.0
    arrays["center"][0, 8, 16] = 4.0
    arrays["kpt_heatmap"] -= 8.0
    arrays["kpt_heatmap"][0, 8, 16] = np.log(3.0)
    return arrays


# In pixels of the input: y min, x min, y max, x max; y and x of a keypoint.
AT, PLACE = (0.0, 48.0, 64.0, 80.0), (32.0, 64.0)
BOXES = {
    "yolo": ("yolo", yolo()),
    "yolo in pixels": ("yolo", yolo(pixels=True)),
    "yolo transposed": ("yolo", {"Identity": yolo()["Identity"].transpose(0, 2, 1)}),
    "yolo v5": ("yolo", yolo_v5()),
    "yolo end to end": ("yolo", end_to_end()),
    "yolo end to end in pixels": ("yolo", end_to_end(pixels=True)),
    "yolo end to end of 100": ("yolo", end_to_end(rows=100)),
    "nanodet": ("nanodet", nanodet()),
    "ssd": ("ssd", ssd()),
    "fomo": ("fomo", fomo()),
    "mediapipe": ("mediapipe", mediapipe_person()),
}
POSES = {
    "yolo": ("yolo", yolo_pose()),
    "yolo in pixels": ("yolo", yolo_pose(pixels=True)),
    "yolo end to end": ("yolo", end_to_end_pose()),
    "mediapipe": ("mediapipe", mediapipe_pose()),
    "movenet": ("movenet", movenet()),
    "movenet heads": ("movenet", heads()),
    "movenet multipose": ("movenet-multipose", multipose()),
    "movenet multipose of 10": ("movenet-multipose", multipose(10)),
}
EXPECTED = {
    "nanodet": (-8.0, 24.0, 24.0, 56.0),
    "mediapipe": (8.0, 24.0, 24.0, 40.0),
}


def as_saved(arrays: Arrays) -> Arrays:
    return arrays


def without_batch(arrays: Arrays) -> Arrays:
    return {name: values[0] for name, values in arrays.items()}


def without_any_side_of_one(arrays: Arrays) -> Arrays:
    return {name: values.squeeze() for name, values in arrays.items()}


def half(arrays: Arrays) -> Arrays:
    return {name: values.astype(np.float16) for name, values in arrays.items()}


def quantised(arrays: Arrays, ending: str = "") -> Arrays:
    """int8 with one scale for each output, as an interpreter returns it."""
    made: Arrays = {}
    for name, values in arrays.items():
        # A step that every value here is a multiple of, or nearly.
        low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-3)
        scale = (high - low) / 255
        zero_point = round(-128 - low / scale)
        rounded = np.clip(np.round(values / scale) + zero_point, -128, 127)
        made[name + ending] = rounded.astype(np.int8)
        made[f"{name}_scale"] = np.float32(scale)
        made[f"{name}_zero_point"] = np.int64(zero_point)
    return made


def with_a_type_in_its_name(arrays: Arrays) -> Arrays:
    return quantised(arrays, "_i8")


@pytest.mark.parametrize("form", [as_saved, without_batch, without_any_side_of_one, half])
@pytest.mark.parametrize("case", BOXES)
def test_boxes_in_every_form(tmp_path: Path, case: str, form: Any) -> None:
    family, arrays = BOXES[case]
    (one,) = found(tmp_path, family, {"input": PICTURE, **form(arrays)})
    top, left, bottom, right = EXPECTED.get(family, AT)
    assert one["box"] == pytest.approx([max(top, 0.0), left, bottom, right], abs=0.05)
    assert one["score"] == pytest.approx(0.75, abs=1e-3)
    assert one["class_id"] == (0 if family == "mediapipe" else 15)


@pytest.mark.parametrize("form", [as_saved, without_batch, without_any_side_of_one, half])
@pytest.mark.parametrize("case", POSES)
def test_poses_in_every_form(tmp_path: Path, case: str, form: Any) -> None:
    family, arrays = POSES[case]
    poses = found(tmp_path, family, {"input": PICTURE, **form(arrays)})
    assert len(poses) == (10 if "of 10" in case else 6 if "multipose" in case else 1)
    for pose in poses:
        for y, x, _ in pose["keypoints"]:
            assert (y, x) == pytest.approx(PLACE, abs=0.05)
        assert pose["score"] == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("form", [quantised, with_a_type_in_its_name])
@pytest.mark.parametrize("case", ["yolo", "yolo v5", "nanodet", "ssd", "fomo"])
def test_eight_bits_by_the_scale_beside_them(tmp_path: Path, case: str, form: Any) -> None:
    family, arrays = BOXES[case]
    (one,) = found(tmp_path, family, {"input": PICTURE, **form(arrays)})
    top, left, bottom, right = EXPECTED.get(family, AT)
    # Half a step of a quantised distance or fraction.
    assert one["box"] == pytest.approx([max(top, 0.0), left, bottom, right], abs=1.0)
    assert one["score"] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("case", ["yolo", "yolo v5", "nanodet", "mediapipe", "fomo"])
def test_the_places_tell_the_size_of_a_square_input(tmp_path: Path, case: str) -> None:
    family, arrays = BOXES[case]
    (one,) = found(tmp_path, family, arrays)
    top, left, bottom, right = EXPECTED.get(family, AT)
    assert one["box"] == pytest.approx([max(top, 0.0), left, bottom, right], abs=0.05)


@pytest.mark.parametrize(
    "beside",
    [
        {"input": np.zeros((1, SIDE, SIDE, 3), np.uint8)},
        {"input": np.zeros((3, SIDE, SIDE), np.float32)},
        {"input": np.zeros((1, 3, SIDE, SIDE), np.float32)},
        {"input_size": np.array([SIDE, SIDE])},
        {"input_shape": np.array([1, SIDE, SIDE, 3])},
    ],
)
def test_the_size_of_the_input_in_every_form(tmp_path: Path, beside: Arrays) -> None:
    (one,) = found(tmp_path, "yolo", {**end_to_end(), **beside})
    assert one["box"] == pytest.approx(AT)


def test_an_input_that_is_not_square(tmp_path: Path) -> None:
    cells = 2 * CELLS
    rows = np.zeros((1, 84, cells), np.float32)
    rows[0, :4, 5], rows[0, 4, 5] = BOX, 0.5
    size = {"input_size": np.array([SIDE, 2 * SIDE])}
    (one,) = found(tmp_path, "yolo", {"Identity": rows, **size})
    assert one["box"] == pytest.approx([0, 96, 64, 160])


def test_names_of_classes_tell_the_layout_and_name_what_is_found(tmp_path: Path) -> None:
    rows = np.zeros((1, CELLS, 7), np.float32)
    rows[0, 5, :4], rows[0, 5, 4:] = BOX, (0.5, 0.25, 0.5)
    arrays = {"Identity": rows, "input": PICTURE}
    two, three = np.array(["cat", "dog"]), np.array(["cat", "dog", "fox"])
    (one,) = found(tmp_path, "yolo", {**arrays, "labels": two})
    assert (one["label"], one["score"]) == ("dog", pytest.approx(0.25, abs=1e-6))
    (one,) = found(tmp_path, "yolo", {**arrays, "names": three}, "--score-threshold", 0.3)
    assert (one["label"], one["score"]) == ("cat", 0.5)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    (one,) = found(tmp_path, "yolo", arrays, "--labels", labels, "--score-threshold", 0.2)
    assert one["label"] == "dog"
    labels.write_text("cat\n")
    path = tmp_path / "tensors.npz"
    message = fault(path, "--decoder", "yolo", "--labels", labels)
    assert "the label list has 1 entries but the YOLO has 3 classes" in message


@pytest.mark.parametrize(
    ("alias", "case"),
    [("YOLOv8", "yolo"), ("efficientdet", "ssd"), ("MobileDet", "ssd"), ("mediapipe_pose", None)],
)
def test_other_names_of_a_family(tmp_path: Path, alias: str, case: str | None) -> None:
    arrays = BOXES[case][1] if case else mediapipe_pose()
    assert len(found(tmp_path, alias, {"input": PICTURE, **arrays})) == 1


def test_what_tests_expect_is_no_output(tmp_path: Path) -> None:
    arrays = {**movenet(), "input": PICTURE, "expected": np.zeros((17, 3), np.float32)}
    assert len(found(tmp_path, "movenet", {**arrays, "expected_scores": np.zeros(3)})) == 1


@pytest.mark.parametrize(
    ("family", "arrays", "message"),
    [
        ("yolo", end_to_end(), "save the picture that it got as input [H, W, 3]"),
        ("ssd", ssd(), "save the picture that it got as input [H, W, 3]"),
        ("movenet", movenet(), "save the picture that it got as input [H, W, 3]"),
        ("movenet", {"input": PICTURE, **multipose()}, "expected the outputs of movenet for an"),
        ("yolo", {"input": PICTURE, **nanodet()}, "expected the outputs of yolo for an input of"),
        ("yolo", {"Identity": np.zeros((90, 91), np.float32)}, "where the input is not square"),
        ("yolo", {"input": PICTURE, "x": np.zeros((2, 84, 336), np.float32)}, "expected the outp"),
        ("yolo", {"input": PICTURE, "x": np.zeros((84, 84), np.int8)}, "save x_scale and x_zero"),
        ("yolo", {"input": PICTURE, "x": np.zeros((84, 84), "U3")}, "x is <U3, expected float32"),
        ("yolo", {"input": PICTURE, "x": np.zeros((0, 84), np.float32)}, "x is empty"),
        ("yolo", {"input": np.zeros(5), **yolo()}, "input: expected one picture [H, W, 3]"),
        ("yolo", {"input": PICTURE, **yolo(), "names": np.arange(80)}, "expected the names"),
        (
            "yolo",
            {"input": PICTURE, "x": np.zeros((84, 84), np.int8), "x_scale": np.float32(-1)},
            "expected one scale above 0",
        ),
        (
            "movenet",
            {f"head_{n}": values for n, values in enumerate(heads().values())},
            "no output's name says which is kpt_regress",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, family: str, arrays: Arrays, message: str
) -> None:
    assert message in fault(saved(tmp_path, arrays), "--decoder", family)
