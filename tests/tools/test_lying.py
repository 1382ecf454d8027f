"""People in pictures on their side are found by turned looks and said to lie."""

from __future__ import annotations

import pytest
from programs import SHARED

from edgecam.daemon.build import load_models
from edgecam.settings.load import load
from edgecam.tools.evaluate import coco
from edgecam.tools.evaluate.lying import lying
from edgecam.tools.evaluate.turned_truth import turned

MINI = SHARED / "coco-mini"
ANNOTATIONS = MINI / "annotations" / "person_keypoints_train2017.json"

pytest.importorskip("pycocotools", reason="the extra [eval] is not installed")


@pytest.mark.skipif(not MINI.is_dir(), reason=f"no pictures at {MINI}")
def test_four_in_five_of_those_found_on_their_side_are_said_to_lie() -> None:
    settings = load(None, {}, {"model.path": ["posenet"], "inference.probe": False})
    truth = turned(coco.load(ANNOTATIONS, MINI / "images", 40), 90)
    (model,) = load_models(settings)
    score = lying(truth, model, settings.decode.options())
    assert score.found >= 0.5 * score.people > 5
    assert score.share >= 0.8
