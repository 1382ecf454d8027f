"""Scoring: pycocotools' numbers for results that are known to be right, shifted or doubled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core.result import Box, Decoded, Detection, Pose
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.evaluate import accuracy as bench
from edgecam.tools.evaluate import coco

pytest.importorskip("pycocotools", reason="the extra [eval] is not installed")

SHARED = Path(__file__).resolve().parents[3] / "shared"
MINI = SHARED / "coco-mini"
SSD = SHARED / "models" / "ssd_mobilenet_v1_coco_quant_postprocess.tflite"
SSD_LABELS = SHARED / "models" / "ssd_mobilenet_v1_coco_labels.txt"
MOVENET = SHARED / "models" / "movenet_single_pose_lightning_ptq.tflite"
POSENET = SHARED / "models" / "posenet_mobilenet_v1_075_353_481_quant.tflite"
needs_shared = pytest.mark.skipif(not MINI.is_dir(), reason=f"no pictures at {MINI}")

PEOPLE = 3


def people() -> list[np.ndarray]:
    """Keypoints of three people 200 px high, xy in pixels, float64[17, 2]."""
    rng = np.random.default_rng(1)
    body = np.stack((rng.uniform(0, 80, 17), rng.uniform(0, 200, 17)), axis=1)
    return [body + np.array((60 + 180 * place, 100)) for place in range(PEOPLE)]


@pytest.fixture
def truth(tmp_path: Path) -> coco.Truth:
    """One picture of 640x480 with three people, annotated with keypoints and boxes."""
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "one.png"), np.zeros((480, 640, 3), np.uint8))
    annotations: list[dict[str, Any]] = []
    for number, xy in enumerate(people(), 1):
        (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        width, height = right - left, bottom - top
        annotations.append(
            {
                "id": number,
                "image_id": 7,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "area": width * height * 0.6,
                "bbox": [left, top, width, height],
                "keypoints": np.column_stack((xy, np.full(17, 2.0))).ravel().tolist(),
            }
        )
    entries = [
        {"id": 7, "file_name": "one.png", "width": 640, "height": 480},
        {"id": 8, "file_name": "absent.png", "width": 640, "height": 480},
    ]
    content = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return coco.load(tmp_path / "truth.json", images)


def poses(shift_px: float, scores: tuple[float, ...] = (0.9, 0.8, 0.7)) -> Decoded:
    return Decoded(
        poses=tuple(
            Pose(score, xy + np.array((shift_px, 0.0)), np.full(17, score))
            for xy, score in zip(people(), scores, strict=True)
        )
    )


def boxes(shift_px: float) -> Decoded:
    found = []
    for xy in people():
        (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        box = Box(left + shift_px, top, right + shift_px, bottom)
        found.append(Detection("person", 0, 0.9, box))
    return Decoded(detections=(*found, Detection("unicorn", 1, 1.0, Box(0, 0, 9, 9))))


def scored(truth: coco.Truth, metric: coco.Metric, found: Decoded) -> coco.Scores:
    results = coco.entries(truth.pictures[0], found, metric, truth.categories)
    return coco.score(truth, metric, results, [1])


def test_only_pictures_that_are_there_count(truth: coco.Truth) -> None:
    assert [picture.id for picture in truth.pictures] == [7]


@pytest.mark.parametrize(("metric", "make"), [("keypoints", poses), ("boxes", boxes)])
def test_right_results_score_one_and_shifted_ones_less(
    truth: coco.Truth, metric: coco.Metric, make: Any
) -> None:
    exact, near, far = (scored(truth, metric, make(shift)) for shift in (0.0, 6.0, 300.0))
    assert (exact.ap, exact.ap50, exact.ar) == pytest.approx((1.0, 1.0, 1.0))
    assert 0.2 < near.ap < 1.0
    assert near.ap50 == pytest.approx(1.0)
    assert far.ap < 0.1


def test_the_order_of_scores_counts(truth: coco.Truth) -> None:
    ghost = Pose(0.99, people()[0] + 400.0, np.full(17, 0.9))
    quiet = Pose(0.01, people()[0] + 400.0, np.full(17, 0.9))
    right = poses(0.0).poses
    loud_ap = scored(truth, "keypoints", Decoded(poses=(*right, ghost))).ap
    quiet_ap = scored(truth, "keypoints", Decoded(poses=(*right, quiet))).ap
    assert quiet_ap == pytest.approx(1.0)
    assert loud_ap < 0.8


def test_nothing_found_scores_nothing(truth: coco.Truth) -> None:
    assert scored(truth, "keypoints", Decoded()) == coco.Scores(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{}", "images"), (b"nonsense", "expected COCO's JSON"), (b"[]", "expected COCO's JSON")],
)
def test_refuses_what_are_no_annotations(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(coco.EvaluateError, match=says):
        coco.load(tmp_path / "a.json", tmp_path)


def test_names_the_extra_where_the_scorer_is_missing(
    truth: coco.Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(coco.EvaluateError, match=r"edgecam\[eval\]"):
        coco.load(truth.path, truth.pictures[0].path.parent)


def test_refuses_a_directory_without_the_pictures(tmp_path: Path, truth: coco.Truth) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(coco.EvaluateError, match="none of the 2 pictures"):
        coco.load(truth.path, tmp_path / "empty")


@needs_shared
def test_a_picture_of_another_size_is_refused(truth: coco.Truth) -> None:
    cv2.imwrite(str(truth.pictures[0].path), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(coco.EvaluateError, match="640x480 pixels, it has 320x240"):
        bench.evaluate(
            ModelSettings(path=str(MOVENET)),
            InferenceSettings(probe=False),
            truth,
            bench.OPTIONS,
            lambda *_: None,
        )


@needs_shared
def test_a_pose_model_needs_keypoints_and_a_detector_a_common_label(tmp_path: Path) -> None:
    path = MINI / "annotations" / "instances_train2017.json"
    instances = coco.load(path, MINI / "images", 1)
    others = tmp_path / "others.txt"
    others.write_text("".join(f"thing{number}\n" for number in range(90)))
    for settings, says in (
        (ModelSettings(path=str(MOVENET)), "no keypoints of people"),
        (ModelSettings(path=str(SSD), labels=str(others)), "give a label file"),
    ):
        with pytest.raises(coco.EvaluateError, match=says):
            bench.evaluate(
                settings, InferenceSettings(probe=False), instances, bench.OPTIONS, lambda *_: None
            )


@needs_shared
def test_evaluates_models_side_by_side() -> None:
    arguments = ["eval", "--images", str(MINI / "images"), "--max-images", "6", "--threads", "2"]
    arguments += ["--labels", str(SSD_LABELS), "--fit", "both", "-m", str(SSD)]
    annotations = MINI / "annotations" / "instances_train2017.json"
    done = CliRunner().invoke(cli, [*arguments, "--annotations", str(annotations), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["fit"] for row in rows] == ["letterbox", "stretch"]
    for row in rows:
        assert row["metric"] == "boxes"
        assert row["categories"] == 80
        assert row["pictures"] == 6
        assert 0.1 < row["ap"] < row["ap50"] < 0.9
        assert row["size_bytes"] == SSD.stat().st_size
        assert row["invoke_ms"] > 0.0
    table = CliRunner().invoke(cli, [*arguments, "--annotations", str(annotations)])
    assert f"{100 * rows[0]['ap']:.1f}" in table.stdout


@needs_shared
@pytest.mark.parametrize(
    ("model", "size", "fit"),
    [
        (MOVENET, None, "stretch"),
        (SSD, None, "stretch"),
        (POSENET, None, "letterbox"),
        (POSENET, "257x257", "stretch"),
    ],
)
def test_each_family_fills_its_input_as_it_finds_most(
    model: Path, size: str | None, fit: str
) -> None:
    settings = ModelSettings(path=str(model), input_size=size)
    assert Model(settings, InferenceSettings(probe=False)).fit == fit
    letterboxed = ModelSettings(path=str(model), input_size=size, fit="letterbox")
    assert Model(letterboxed, InferenceSettings(probe=False)).fit == "letterbox"


@needs_shared
def test_the_bundled_int8_posenet_is_within_a_point_of_float16() -> None:
    truth = coco.load(MINI / "annotations" / "person_keypoints_train2017.json", MINI / "images")
    ap = {
        precision: bench.evaluate(
            ModelSettings(path=f"posenet_mobilenet_v1_075_{precision}", input_size="353x481"),
            InferenceSettings(probe=False),
            truth,
            bench.OPTIONS,
            lambda *_: None,
        ).ap
        for precision in ("fp16", "int8")
    }
    assert ap["fp16"] > 0.18
    assert ap["int8"] > ap["fp16"] - 0.01


@needs_shared
def test_the_bundled_pedestrian_detector_finds_people() -> None:
    truth = coco.load(MINI / "annotations" / "instances_train2017.json", MINI / "images", 40)
    row = bench.evaluate(
        ModelSettings(path="ssdlite"),
        InferenceSettings(probe=False),
        truth,
        bench.OPTIONS,
        lambda *_: None,
    )
    assert row.categories == 1
    assert row.ap > 0.12


@needs_shared
def test_evaluates_a_whole_run_beside_the_finder_alone() -> None:
    arguments = ["eval", "--images", str(MINI / "images"), "--max-images", "6", "--threads", "2"]
    annotations = MINI / "annotations" / "person_keypoints_train2017.json"
    arguments += ["--annotations", str(annotations), "--json"]
    rows = []
    for models in (["--accuracy", "fast"], ["-m", "posenet", "--refine", "lightning"]):
        done = CliRunner().invoke(cli, [*arguments, *models])
        assert done.exit_code == 0, done.output
        rows += json.loads(done.stdout)
    assert [row["model"] for row in rows] == ["fast", "posenet, lightning"]
    assert [row["family"] for row in rows] == ["posenet", "posenet+movenet"]
    assert [row["pictures"] for row in rows] == [6, 6]
    assert rows[1]["ap"] > rows[0]["ap"] > 0.0


@needs_shared
def test_a_whole_run_without_poses_makes_no_turned_looks() -> None:
    annotations = MINI / "annotations" / "person_keypoints_train2017.json"
    arguments = ["eval", "--images", str(MINI / "images"), "--annotations", str(annotations)]
    models = ["-m", "ssdlite", "--refine", "lightning"]
    done = CliRunner().invoke(cli, [*arguments, *models, "--turned-looks"])
    assert done.exit_code == 1
    assert "--turned-looks: expected one that finds poses of people, found ssdlite" in done.output


def test_eval_asks_what_to_run() -> None:
    annotations = MINI / "annotations" / "person_keypoints_train2017.json"
    arguments = ["eval", "--images", str(MINI / "images"), "--annotations", str(annotations)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert "expected --model or --accuracy" in done.output
