"""Pictures and annotations turned together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from programs import SHARED, edgecam

from edgecam.core.turning import turn_image
from edgecam.tools.evaluate.coco import Picture, Truth
from edgecam.tools.evaluate.turned_truth import turned

pytest.importorskip("pycocotools", reason="the extra [eval] is not installed")

MINI = SHARED / "coco-mini"
ANNOTATIONS = MINI / "annotations" / "person_keypoints_train2017.json"


def truth() -> Truth:
    """One picture of 7x4 with a bright box of 2x1 and a keypoint at its upper left pixel."""
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 7, "height": 4}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [4.0, 1.0, 2.0, 1.0],
                "keypoints": [4, 1, 2, 0, 0, 0],
                "segmentation": [[0, 0, 1, 1, 0, 1]],
            }
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    return Truth(Path("t.json"), content, (Picture(1, Path("a.png"), 7, 4),), {"person": 1})


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_and_keypoints_stay_on_what_they_annotate(degrees: int) -> None:
    image = np.zeros((4, 7, 3), np.uint8)
    image[1, 4:6] = 255, 0, 0
    image[1, 4] = 255
    there = turned(truth(), degrees)
    shown = turn_image(image, degrees)
    (picture,), (entry,) = there.pictures, there.content["annotations"]
    assert (picture.width_px, picture.height_px) == shown.shape[1::-1]
    assert picture.turned_degrees == degrees
    x, y, width, height = (round(each) for each in entry["bbox"])
    assert (shown[y : y + height, x : x + width, 0] == 255).all()
    assert width * height == (shown[..., 0] == 255).sum()
    x, y, seen, *unknown = entry["keypoints"]
    assert shown[round(y), round(x)].tolist() == [255, 255, 255]
    assert (seen, unknown) == (2, [0, 0, 0])
    assert "segmentation" not in entry


def test_four_quarters_are_the_truth_as_it_was() -> None:
    there = truth()
    for _ in range(4):
        there = turned(there, 90)
    assert there.content["annotations"][0]["bbox"] == [4.0, 1.0, 2.0, 1.0]
    assert there.content["annotations"][0]["keypoints"] == [4, 1, 2, 0, 0, 0]
    assert there.content["images"] == truth().content["images"]
    assert turned(truth(), 0).pictures == truth().pictures


def evaluated(*more: str, pictures: int = 25) -> float:
    common = ["--images", MINI / "images", "--annotations", ANNOTATIONS, "--max-images", pictures]
    done = edgecam("eval", "-m", "posenet", *common, "--json", *more)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)[0]["ap"])


@pytest.mark.skipif(not MINI.is_dir(), reason=f"no pictures at {MINI}")
def test_eval_finds_turned_people_by_turned_looks_nearly_as_well_as_upright_ones() -> None:
    upright = evaluated()
    assert evaluated("--turn", "90") < 0.1 * upright
    assert evaluated("--turn", "90", "--turned-looks") >= 0.8 * upright


@pytest.mark.skipif(not MINI.is_dir(), reason=f"no pictures at {MINI}")
def test_whom_a_turned_look_finds_is_refined_in_a_whole_run() -> None:
    found = evaluated("--turn", "90", "--turned-looks", pictures=8)
    assert evaluated("--refine", "thunder", "--turn", "90", "--turned-looks", pictures=8) > found


@pytest.mark.skipif(not MINI.is_dir(), reason=f"no pictures at {MINI}")
def test_eval_says_that_a_detector_makes_no_turned_looks() -> None:
    common = ["--images", MINI / "images", "--annotations", ANNOTATIONS]
    done = edgecam("eval", "-m", "ssdlite", *common, "--turned-looks")
    assert done.returncode == 1
    assert "--turned-looks: expected models that find poses of people" in done.stderr
