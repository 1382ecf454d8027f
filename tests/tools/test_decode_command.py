"""``edgecam decode`` as a person runs it: poses on stdout, faults in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from posenet_vectors import BUNDLED, NO_SHARED, SHARED, SHARED_FILES, bundled, float_set

from edgecam.cli.main import cli
from edgecam.inference.decoders import posenet_coral

CROWD = BUNDLED / "crowd_stepped.npz"


def decode(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["decode", *map(str, arguments)])


def fault(*arguments: object) -> str:
    result = decode(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]], px: float = 2e-6) -> bool:
    assert len(found) == len(expected)
    return all(
        np.allclose(pose["keypoints"], other["keypoints"], rtol=0, atol=px)
        and abs(pose["score"] - other["score"]) < 1e-6
        for pose, other in zip(found, expected, strict=True)
    )


def test_as_a_person_runs_it() -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "edgecam", "decode", str(CROWD), "--decoder", "tfjs"),
            *(
                "--stride",
                "16",
                "--max-poses",
                "5",
                "--score-threshold",
                "0.5",
                "--nms-radius",
                "20",
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    case, _ = bundled("crowd_stepped")
    assert same(json.loads(run.stdout)["poses"], case["tfjs"][0]["poses"])


@pytest.mark.parametrize("name", ["people_stride8", "people_stride32", "edges", "nothing"])
def test_settings_reach_the_decoder(name: str) -> None:
    case, _ = bundled(name)
    for result in case["tfjs"]:
        options: list[object] = ["--single"]
        if settings := result["settings"]:
            options = ["--max-poses", settings["max_poses"]]
            options += ["--score-threshold", settings["score_threshold"]]
            options += ["--nms-radius", settings["nms_radius_px"]]
        run = decode(BUNDLED / f"{name}.npz", "--stride", case["stride"], *options)
        assert run.exit_code == 0
        assert same(json.loads(run.stdout)["poses"], result["poses"])


def test_coral_rules() -> None:
    run = decode(CROWD, "--decoder", "coral", "--score-threshold", 0.3)
    poses = posenet_coral.decode_poses(
        *float_set(CROWD), stride=16, max_poses=5, score_threshold=0.3, nms_radius_px=20.0
    )
    found = json.loads(run.stdout)["poses"]
    assert [pose["score"] for pose in found] == [pose.score for pose in poses]
    assert len(found) == 5
    assert np.array_equal(np.array(found[0]["keypoints"])[:, 1::-1], poses[0].xy)


def quantised(tmp_path: Path, *names: str, **more: np.ndarray) -> Path:
    """A file with quantised sets of a 13x21 grid, the mid offsets with the full one only."""
    arrays: dict[str, np.ndarray] = dict(more)
    heatmaps, offsets, both = float_set(BUNDLED / "people_stride16.npz")
    for name in names:
        parts = {"heatmaps": (heatmaps, 0.06), "short_offsets": (offsets, 0.4)}
        if name.endswith("full"):
            parts["mid_offsets"] = (both, 1.4)
        for part, (values, scale) in parts.items():
            key = f"{name}_{part}"
            steps = np.clip(np.rint(values / scale) + 128, 0, 255)
            arrays[f"{key}_u8"] = steps.astype(np.uint8)
            arrays[f"{key}_scale"] = np.float32(scale)
            arrays[f"{key}_zero_point"] = np.int32(128)
    path = tmp_path / "quantised.npz"
    np.savez(path, **arrays)
    return path


def test_quantised_sets(tmp_path: Path) -> None:
    full, comp = "coral_193_321_full", "coral_193_321_comp"
    path = quantised(tmp_path, full, comp)
    message = fault(path)
    assert full in message
    assert comp in message
    poses = [json.loads(decode(path, "--tensors", name).stdout)["poses"] for name in (full, comp)]
    assert poses[0] == poses[1]  # same values, and the one's mid offsets serve both
    exact = json.loads(decode(BUNDLED / "people_stride16.npz").stdout)["poses"]
    first = np.array(poses[0][0]["keypoints"])[:, :2]
    near = [np.abs(first - np.array(p["keypoints"])[:, :2]).max() for p in exact]
    assert len(poses[0]) == 3
    assert min(near) < 1.0  # px, what a step of 0.4 px and a cell picked otherwise leave
    alone = quantised(tmp_path, full)
    assert json.loads(decode(alone).stdout)["poses"] == poses[0]
    batch = {key: part[None] if part.ndim == 3 else part for key, part in np.load(alone).items()}
    np.savez(tmp_path / "batch.npz", **batch)
    assert json.loads(decode(tmp_path / "batch.npz").stdout)["poses"] == poses[0]
    assert "has stride 16; drop --stride 8" in fault(alone, "--stride", 8)
    assert "holds no set 'coral_1_1_full'" in fault(alone, "--tensors", "coral_1_1_full")
    both = quantised(tmp_path, full, **dict(np.load(BUNDLED / "people_stride16.npz")))
    for option in ([], ["--tensors", "tfjs385"], ["--tensors", "synthetic"]):
        assert json.loads(decode(both, *option).stdout)["poses"] == exact


@pytest.mark.skipif(not SHARED_FILES, reason=NO_SHARED)
def test_shared_files() -> None:
    for name, tensors in (("couple", "tfjs385"), ("couple", "coral_481_641_comp")):
        checked = 0
        for result in json.loads((SHARED / f"{name}.json").read_text())["results"]:
            if result["tensors"] != tensors or "MultiplePoses" not in result["decoder"]:
                continue
            settings = result["settings"]
            run = decode(
                *(SHARED / f"{name}.npz", "--tensors", tensors),
                *("--max-poses", settings["max_detections"]),
                *("--score-threshold", settings["score_threshold"]),
                *("--nms-radius", settings["nms_radius"]),
            )
            assert same(json.loads(run.stdout)["poses"], result["poses"])
            checked += 1
        assert checked == 3


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "No such file" in fault(tmp_path / "missing.npz")
    assert "directory" in fault(tmp_path).lower()
    text = tmp_path / "text.npz"
    text.write_text("not an array\n")
    fault(text)
    empty = tmp_path / "empty.npz"
    empty.touch()
    fault(empty)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(CROWD.read_bytes()[:5000])
    fault(cut)
    torn = tmp_path / "torn.npz"
    data = bytearray(CROWD.read_bytes())
    data[4000:4200] = bytes(200)
    torn.write_bytes(data)
    fault(torn)
    one = tmp_path / "one.npy"
    np.save(one, np.zeros(3))
    assert "one array" in fault(one)


def test_contents_that_do_not_fit(tmp_path: Path) -> None:
    good = dict(np.load(CROWD))

    def saved(**changed: np.ndarray | None) -> Path:
        path = tmp_path / "changed.npz"
        arrays = {**good, **changed}
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    assert "offsets is missing" in fault(saved(offsets=None))
    assert "heatmaps is missing; found other" in fault(
        saved(**dict.fromkeys(good), other=np.zeros(1))
    )
    assert "expected [rows, columns, 34]" in fault(saved(offsets=good["offsets"][..., :17]))
    assert "offsets have shape" in fault(saved(offsets=good["offsets"][1:]))
    assert "expected [rows, columns, 32] both" in fault(
        saved(displacement_bwd=good["displacement_bwd"][:3])
    )
    assert "expected float32" in fault(saved(heatmaps=good["heatmaps"].astype(np.int32)))
    broken = good["heatmaps"].copy()
    broken[0, 0, 0] = np.nan
    assert "NaN" in fault(saved(heatmaps=broken))
    assert "Object arrays" in fault(saved(heatmaps=np.array([None])))


@pytest.mark.parametrize(
    "options",
    [
        ["--stride", 12],
        ["--max-poses", 0],
        ["--score-threshold", 1.5],
        ["--nms-radius", -1],
        ["--decoder", "best"],
        ["--single", "--decoder", "coral"],
    ],
)
def test_options_out_of_range_are_a_usage_error(options: list[object]) -> None:
    result = decode(CROWD, *options)
    assert result.exit_code == 2
    assert "Error" in result.stderr


PICTURE = np.zeros((64, 64, 3), np.uint8)
YOLO_CELLS = 64 + 16 + 4


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "tensors.npz"
    np.savez(path, **arrays)
    return path


def boxes(*arguments: object) -> list[dict[str, Any]]:
    result = decode(*arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["detections"]
    return found


def test_a_yolo_prints_boxes(tmp_path: Path) -> None:
    rows = np.zeros((84, YOLO_CELLS), np.float32)
    rows[:4, 5], rows[4 + 15, 5] = (0.5, 0.5, 0.25, 0.5), 0.3
    path = saved(tmp_path, input=PICTURE, Identity=rows)
    (found,) = boxes(path, "--decoder", "yolo")
    assert (found["label"], found["class_id"], found["score"]) == ("cat", 15, pytest.approx(0.3))
    assert found["box"] == pytest.approx([16, 24, 48, 40])
    assert boxes(path, "--decoder", "yolo", "--score-threshold", 0.4) == []


def test_a_yolo_for_people_prints_poses(tmp_path: Path) -> None:
    rows = np.zeros((56, YOLO_CELLS), np.float32)
    rows[:5, 5] = (0.5, 0.5, 0.25, 0.5, 0.8)
    rows[5:, 5] = np.tile((0.5, 0.25, 0.9), 17)
    result = decode(saved(tmp_path, input=PICTURE, Identity=rows), "--decoder", "yolo")
    (pose,) = json.loads(result.stdout)["poses"]
    assert pose["score"] == pytest.approx(0.8)
    assert pose["keypoints"][0] == pytest.approx([16, 32, 0.9])


def test_nanodet_ssd_and_fomo_print_boxes(tmp_path: Path) -> None:
    outputs = {}
    for count in (64, 16, 4):
        outputs[f"classes_{count}"] = np.zeros((count, 80), np.float32)
        outputs[f"distances_{count}"] = np.zeros((count, 44), np.float32)
    outputs["classes_16"][0, 2] = 0.4
    (found,) = boxes(saved(tmp_path, input=PICTURE, **outputs), "--decoder", "nanodet")
    assert (found["label"], found["box"]) == ("car", [0, 0, 64, 64])

    ssd = {
        "boxes": np.array([[0.25, 0.0, 0.5, 1.0]], np.float32)[None],
        "classes": np.zeros((1, 1), np.float32),
        "scores": np.full((1, 1), 0.75, np.float32),
        "count": np.ones(1, np.float32),
    }
    (found,) = boxes(saved(tmp_path, input=PICTURE, **ssd), "--decoder", "ssd")
    assert (found["class_id"], found["score"], found["box"]) == (0, 0.75, [16, 0, 32, 64])

    grid = np.zeros((8, 8, 2), np.float32)
    grid[1, 2] = (0.25, 0.75)
    (found,) = boxes(saved(tmp_path, Identity=grid), "--decoder", "fomo")
    assert (found["score"], found["box"]) == (0.75, [8, 16, 16, 24])
