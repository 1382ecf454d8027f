"""MediaPipe's pose detector and landmarks, on tensors made by its own configuration files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.keypoints import NAMES
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings

FLOAT = np.dtype(np.float32)
ANCHORS = 2254


def recognised(side: int, *shapes: tuple[int, ...]) -> Decoder:
    image = TensorInfo(0, "input", (1, side, side, 3), FLOAT)
    outputs = [TensorInfo(n, f"Identity_{n}", shape, FLOAT) for n, shape in enumerate(shapes, 1)]
    return decoders.recognise([image], outputs, FamilyContext())


def people(*found: tuple[int, float, tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.zeros((1, ANCHORS, 12), np.float32)
    logits = np.full((1, ANCHORS, 1), -200.0, np.float32)
    for place, logit, values in found:
        rows[0, place], logits[0, place] = values, logit
    return rows, logits


# The second anchor of row 3, column 5 at stride 16 lies at (88, 56).
PLACE = 28 * 28 * 2 + (3 * 14 + 5) * 2 + 1
ROW = (0.0, -10.0, 20.0, 20.0, 2.0, 4.0, 2.0, 34.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("form", ["apart", "other way round", "together"])
def test_a_person_is_the_square_around_the_circle_of_the_body(form: str) -> None:
    # Another at the same face is suppressed, a face elsewhere is not.
    elsewhere = 28 * 28 * 2 + 14 * 14 * 2 + 6 * (5 * 7 + 1)
    rows, logits = people((PLACE, 2.0, ROW), (PLACE - 1, 1.0, ROW), (elsewhere, 0.5, ROW))
    tensors = [rows, logits]
    if form == "other way round":
        tensors = [logits, rows]
    elif form == "together":
        tensors = [np.concatenate((logits, rows), axis=2)]
    decoder = recognised(224, *(tensor.shape for tensor in tensors))
    assert (decoder.family, decoder.finds, decoder.labels) == (
        "mediapipe-person",
        "boxes",
        ("person",),
    )
    taken = [tensors[place] for place in decoder.outputs]
    first, second = decoder(taken, DecodeOptions(score_threshold=0.5)).detections
    assert first.score == pytest.approx(1 / (1 + np.exp(-2.0)))
    box = first.box
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((60, 30, 120, 90))
    assert second.box.x_min == pytest.approx(48 + 2 - 30)
    assert decoder(taken, DecodeOptions(score_threshold=0.9)).detections == ()


def test_a_row_that_is_not_finite_is_no_person() -> None:
    rows, logits = people((PLACE, 2.0, (np.nan, *ROW[1:])))
    decoder = recognised(224, rows.shape, logits.shape)
    assert decoder([rows, logits], DecodeOptions()).detections == ()


def landmarks(presence: float = 8.0) -> np.ndarray:
    rows = np.zeros((39, 5), np.float32)
    rows[:, 0], rows[:, 1] = np.arange(39), np.arange(39) * 2
    rows[:, 3], rows[:, 4] = 8.0, presence
    return rows.reshape(1, 195)


def test_the_17_keypoints_of_coco_are_taken_from_the_landmarks() -> None:
    shapes = ((1, 117), (1, 64, 64, 39), (1, 256, 256, 1), (1, 1), (1, 195))
    decoder = recognised(256, *shapes)
    assert (decoder.family, decoder.finds) == ("mediapipe-pose", "poses")
    assert decoder.outputs == (4, 3)
    sure = np.full((1, 1), 0.9, np.float32)
    (pose,) = decoder([landmarks(), sure], DecodeOptions()).poses
    assert pose.score == pytest.approx(0.9)
    wanted = {"nose": 0, "left_eye": 2, "right_ear": 8, "left_wrist": 15, "right_ankle": 28}
    for name, place in wanted.items():
        assert pose.xy[NAMES.index(name)].tolist() == [place, 2 * place]
    assert pose.scores == pytest.approx(np.full(17, 1 / (1 + np.exp(-8.0))))


@pytest.mark.parametrize(
    ("score", "presence", "options"),
    [
        (0.4, 8.0, DecodeOptions()),
        (np.nan, 8.0, DecodeOptions()),
        (0.9, -2.0, DecodeOptions()),
        (0.6, 8.0, DecodeOptions(min_pose_score=0.7)),
        (0.9, 8.0, DecodeOptions(max_poses=0)),
    ],
)
def test_no_pose(score: float, presence: float, options: DecodeOptions) -> None:
    decoder = recognised(256, (1, 195), (1, 1))
    tensors = [landmarks(presence), np.full((1, 1), score, np.float32)]
    assert decoder(tensors, options).poses == ()


def test_landmarks_refine_and_their_square_is_turned() -> None:
    decoder = recognised(256, (1, 195), (1, 1))
    assert (decoder.for_crops, getattr(decoder, "turns_crops", None)) == (True, True)
    assert not recognised(224, (1, ANCHORS, 13)).for_crops


def test_all_33_landmarks_where_asked_with_those_of_coco_among_them() -> None:
    decoder: Any = recognised(256, (1, 195), (1, 1))
    rows = np.arange(195, dtype=np.float32).reshape(1, 195)
    tensors = [rows, np.array([[0.9]], np.float32)]
    options = DecodeOptions(score_threshold=0.0)
    (body,) = decoder(tensors, options).poses
    whole = decoder.with_all_keypoints()
    (pose,) = whole(tensors, options).poses
    assert (whole.skeleton.name, len(whole.skeleton.names)) == ("mediapipe", 33)
    assert whole.skeleton.names[9:11] == ("left_mouth", "right_mouth")
    assert whole.skeleton.names[-2:] == ("left_foot_index", "right_foot_index")
    assert pose.xy.tolist() == rows.reshape(39, 5)[:33, :2].tolist()
    assert pose.xy[list(whole.skeleton.body)].tolist() == body.xy.tolist()


def test_another_model_has_no_more_keypoints_than_it_publishes() -> None:
    with pytest.raises(ModelError, match="keypoints = all: expected MediaPipe's pose landmarks"):
        Model(ModelSettings(path="posenet", keypoints="all"), InferenceSettings(probe=False))
