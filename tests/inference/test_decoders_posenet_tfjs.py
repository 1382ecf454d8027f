"""The TensorFlow.js rules against TensorFlow.js itself, ties and all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posenet_vectors import (
    BUNDLED,
    NO_SHARED,
    SHARED,
    SHARED_FILES,
    bundled,
    differences,
    float_set,
    shared_set,
)

from edgecam.core.result import Pose
from edgecam.inference.decoders import posenet_roots, posenet_tfjs
from edgecam.inference.decoders.posenet_tree import scores_from_logits

CASES = sorted(path.stem for path in BUNDLED.glob("*.json"))
# The vectors are rounded to 1e-6 px and 1e-9: the agreement is with their last digit.
OFF_PX, OFF_SCORE = 2e-6, 2e-9


def decode(tensors: list[np.ndarray], stride: int, settings: dict[str, Any] | None) -> list[Pose]:
    if settings is None:
        return [posenet_tfjs.decode_single_pose(*tensors[:2], stride=stride)]
    return list(posenet_tfjs.decode_multiple_poses(*tensors, stride=stride, **settings))


@pytest.mark.parametrize("name", CASES)
def test_bundled_vectors(name: str) -> None:
    case, tensors = bundled(name)
    assert len(case["tfjs"]) == 5
    for result in case["tfjs"]:
        poses = decode(tensors, case["stride"], result["settings"])
        off_px, off_score = differences(poses, result["poses"])
        assert off_px.max(initial=0.0) < OFF_PX, result["settings"]
        assert off_score < OFF_SCORE, result["settings"]


def test_the_bundled_vectors_have_ties_to_break() -> None:
    """Ties that the order of the heap decides: without it these vectors must not all pass."""
    wrong = 0
    order = posenet_roots._dequeue
    posenet_roots._dequeue = lambda scores, places, size: [  # noqa: ARG005
        places[k] for k in np.argsort(-np.array(scores), kind="stable")
    ]
    try:
        for name in ("crowd_stepped", "ties_halfcell", "saturated"):
            case, tensors = bundled(name)
            for result in case["tfjs"][:-1]:
                poses = decode(tensors, case["stride"], result["settings"])
                wrong += differences(poses, result["poses"])[0].max(initial=0.0) > 1.0
    finally:
        posenet_roots._dequeue = order
    assert wrong >= 3


@pytest.mark.skipif(not SHARED_FILES, reason=NO_SHARED)
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: path.stem)
def test_shared_vectors(path: Path) -> None:
    checked = 0
    for result in json.loads(path.read_text())["results"]:
        decoder, settings = result["decoder"], result["settings"]
        if not decoder.startswith("tfjs"):
            continue
        tensors = shared_set(path.with_suffix(".npz"), result["tensors"])
        wanted = {
            "max_poses": settings.get("max_detections"),
            "score_threshold": settings.get("score_threshold"),
            "nms_radius_px": settings.get("nms_radius"),
        }
        single = decoder.endswith("decodeSinglePose")
        poses = decode(tensors, settings["output_stride"], None if single else wanted)
        off_px, off_score = differences(poses, result["poses"])
        assert off_px.max(initial=0.0) < OFF_PX, (result["tensors"], settings)
        assert off_score < OFF_SCORE, (result["tensors"], settings)
        checked += 1
    assert checked >= 4


@pytest.mark.skipif(not SHARED_FILES, reason=NO_SHARED)
def test_scores_are_those_that_tensorflow_js_computed() -> None:
    checked = 0
    for path in SHARED.glob("*.npz"):
        with np.load(path) as file:
            if "scores" in file:
                assert np.array_equal(scores_from_logits(file["heatmaps"]), file["scores"])
                checked += 1
    assert checked


@pytest.mark.parametrize("name", ["people_stride8", "people_stride16", "people_stride32"])
def test_drawn_people_are_found_where_they_were_drawn(name: str) -> None:
    case, tensors = bundled(name)
    settings = {"max_poses": 5, "score_threshold": 0.5, "nms_radius_px": 20.0}
    poses = decode(tensors, case["stride"], settings)
    drawn = np.array(case["people_yx"])[..., ::-1]
    assert len(poses) == len(drawn)
    for person in drawn:
        off = min(np.linalg.norm(pose.xy - person, axis=-1).max() for pose in poses)
        assert off < 0.1  # offsets are exact but for float16


@pytest.mark.parametrize("seed", range(8))
def test_transposing_the_picture_transposes_the_poses(seed: int) -> None:
    """No axis is taken for the other one, on a grid that is not square."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 14, 2)
    tensors = [
        rng.normal(mean, spread, (height, width, depth)).astype(np.float32)
        for mean, spread, depth in ((-1.0, 2.0, 17), (0.0, 12.0, 34), (0.0, 30.0, 64))
    ]
    swapped = [
        tensor.swapaxes(0, 1)[..., order].copy()
        for tensor, order in zip(tensors, (range(17), _swap(17, 1), _swap(16, 2)), strict=True)
    ]
    settings = {"max_poses": 12, "score_threshold": 0.4, "nms_radius_px": 25.0}
    plain, turned = decode(tensors, 16, settings), decode(swapped, 16, settings)
    assert len(plain) == len(turned) > 1
    for pose, other in zip(plain, turned, strict=True):
        assert np.array_equal(pose.xy, other.xy[:, ::-1])
        assert np.array_equal(pose.scores, other.scores)
        assert pose.score == other.score


def _swap(count: int, blocks: int) -> list[int]:
    """Channels with y and x, ``count`` each, exchanged in every block."""
    y, x = list(range(count)), list(range(count, 2 * count))
    return [2 * count * block + k for block in range(blocks) for k in (*x, *y)]


def test_more_poses_only_add_poses() -> None:
    tensors = float_set(BUNDLED / "noise.npz")
    settings = {"score_threshold": 0.1, "nms_radius_px": 10.0}
    many = decode(tensors, 16, {"max_poses": 200, **settings})
    assert len(many) > 40
    for most in (1, 5, 30):
        few = decode(tensors, 16, {"max_poses": most, **settings})
        assert len(few) == most
        for pose, other in zip(few, many, strict=False):
            assert np.array_equal(pose.xy, other.xy)
            assert pose.score == other.score


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends(threshold: float) -> None:
    case, tensors = bundled("saturated")
    settings = {"max_poses": 500, "score_threshold": threshold, "nms_radius_px": 5.0}
    poses = decode(tensors, case["stride"], settings)
    exact = scores_from_logits(tensors[0])
    assert all(pose.scores.max() >= threshold for pose in poses)
    assert bool(poses) == bool((exact >= threshold).any())


def test_threads_do_not_share_what_is_kept_between_frames() -> None:
    case, tensors = bundled("people_stride16")
    settings = {"max_poses": 10, "score_threshold": 0.1, "nms_radius_px": 10.0}
    shifted = [tensors[0], -tensors[1], tensors[2]]
    expected = [decode(which, case["stride"], settings) for which in (tensors, shifted)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(40):
            found = pool.map(lambda which: decode(which, 16, settings), (tensors, shifted))
            for poses, others in zip(found, expected, strict=True):
                assert len(poses) == len(others)
                for pose, other in zip(poses, others, strict=True):
                    assert np.array_equal(pose.xy, other.xy)
                    assert np.array_equal(pose.scores, other.scores)


def tensors_of(roots: dict[tuple[int, int], float]) -> list[np.ndarray]:
    """Heatmap, offsets and displacements of noses alone, by row and column of a grid of 9x9."""
    heatmaps = np.full((9, 9, 17), -40.0, np.float32)
    for cell, logit in roots.items():
        heatmaps[(*cell, 0)] = logit
    return [heatmaps, np.zeros((9, 9, 34), np.float32), np.zeros((9, 9, 64), np.float32)]


@pytest.mark.parametrize(("radius_px", "found"), [(31.0, 2), (32.0, 1), (33.0, 1)])
def test_root_exactly_at_the_radius_belongs_to_the_pose_that_is_there(
    radius_px: float, found: int
) -> None:
    """``withinNmsRadiusOfCorrespondingPoint`` is ``<=``: a squared distance of 4 cells each way."""
    tensors = tensors_of({(4, 2): 3.0, (4, 4): 2.0})
    settings = {"max_poses": 5, "score_threshold": 0.5, "nms_radius_px": radius_px}
    assert len(decode(tensors, 16, settings)) == found


@pytest.mark.parametrize(("radius_px", "counted"), [(31.0, 2), (32.0, 1), (33.0, 1)])
def test_keypoint_exactly_at_the_radius_of_an_earlier_one_does_not_count(
    radius_px: float, counted: int
) -> None:
    tensors = tensors_of({(4, 1): 3.0, (4, 6): 2.0})
    heatmaps, offsets, _ = tensors
    # The left eye of the second is refined to column 3, two cells from that of the first.
    offsets[4, 6, 17 + 1] = -48.0
    heatmaps[4, 3, 1] = 2.0
    settings = {"max_poses": 5, "score_threshold": 0.85, "nms_radius_px": radius_px}
    first, second = decode(tensors, 16, settings)
    assert (first.xy[1].tolist(), second.xy[1].tolist()) == ([16.0, 64.0], [48.0, 64.0])
    sure = 1.0 / (1.0 + np.exp(-2.0))
    assert second.score == pytest.approx(counted * sure / 17, abs=1e-6)
