"""Coral's rules against libcoral and against the decoder library that Coral ships."""

from __future__ import annotations

import json

import numpy as np
import pytest
from posenet_vectors import BUNDLED, NO_SHARED, SHARED_FILES, bundled, differences, shared_set

from edgecam.core.keypoints import EDGES
from edgecam.core.result import Pose
from edgecam.inference.decoders import posenet_coral

SETTINGS = {"max_poses": 10, "score_threshold": 0.3, "nms_radius_px": 10.0}


def shared_share(decoder: str) -> tuple[int, float]:
    """How many results there are, and the share of keypoints that is within 0.05 px."""
    results, near = 0, []
    for path in SHARED_FILES:
        for result in json.loads(path.read_text())["results"]:
            if decoder not in result["decoder"]:
                continue
            settings = result["settings"]
            poses = posenet_coral.decode_poses(
                *shared_set(path.with_suffix(".npz"), result["tensors"]),
                stride=settings["output_stride"],
                max_poses=settings["max_detections"],
                score_threshold=settings["score_threshold"],
                nms_radius_px=settings["nms_radius"],
            )
            off_px, off_score = differences(poses, result["poses"])
            assert off_score < 1e-5, (path.stem, result["tensors"], settings)
            near.append((off_px <= 0.05).ravel())
            results += 1
    return results, float(np.concatenate(near).mean())


@pytest.mark.skipif(not SHARED_FILES, reason=NO_SHARED)
def test_shared_vectors_of_libcoral() -> None:
    results, share = shared_share("libcoral")
    assert results >= 30
    assert share >= 0.99


@pytest.mark.skipif(not SHARED_FILES, reason=NO_SHARED)
def test_shared_vectors_of_the_library_with_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped library reads edge 16, left eye to nose, from channels 16 and 32."""
    steps = posenet_coral._STEPS.copy()
    steps[..., 3][steps[..., 3] == 32] = 16
    monkeypatch.setattr(posenet_coral, "_STEPS", steps)
    results, share = shared_share("posenet_decoder.so")
    assert results >= 150
    assert share >= 0.99


def direct(tensors: list[np.ndarray], stride: int, settings: dict[str, float]) -> list[Pose]:
    """The same rules said plainly, one keypoint at a time in order of score, in float64."""
    heatmaps, offsets, moves = (tensor.astype(np.float64) for tensor in tensors)
    offsets, moves = offsets / stride, moves / stride
    edges = [(a, b, e) for e, (a, b) in enumerate(EDGES)]
    ways = [*edges, *((b, a, e + 32) for a, b, e in edges)]
    last = np.array(heatmaps.shape[:2]) - 1.0
    threshold, radius = settings["score_threshold"], settings["nms_radius_px"] / stride

    def sample(field: np.ndarray, point: np.ndarray, channels: list[int]) -> np.ndarray:
        y, x = np.floor(point).astype(int)
        v, u = np.ceil(point).astype(int)
        b, a = point - (y, x)
        top = (1 - a) * field[y, x, channels] + a * field[y, u, channels]
        return (1 - b) * top + b * ((1 - a) * field[v, x, channels] + a * field[v, u, channels])

    def walk(root: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
        points, scores, done = np.zeros((17, 2)), np.zeros(17), set()
        queue = [(sample(heatmaps, root, [part])[0], part, root)]
        while queue:
            best = max(range(len(queue)), key=lambda k: queue[k][0])
            logit, now, point = queue.pop(best)
            if now in done:
                continue
            done.add(now)
            points[now], scores[now] = point, 1 / (1 + np.exp(-logit))
            for source, end, channel in ways:
                if source == now and end not in done:
                    move = sample(moves, point, [channel, channel + 16])
                    there = np.clip(point + move, 0, last)
                    for _ in range(5):
                        there = np.clip(there + sample(offsets, there, [end, end + 17]), 0, last)
                    queue.append((sample(heatmaps, there, [end])[0], end, there))
        return points, scores

    found: list[tuple[np.ndarray, np.ndarray]] = []
    odds = -np.log(1 / (threshold + 1e-6) - 1)
    for y, x, part in sorted(np.ndindex(heatmaps.shape), key=lambda at: -heatmaps[at]):
        window = heatmaps[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, part]
        if heatmaps[y, x, part] < max(odds, window.max()) or len(found) == settings["max_poses"]:
            continue
        root = np.clip((y, x) + offsets[y, x, [part, part + 17]], 0, last)
        if all(np.linalg.norm(root - points[part]) > radius for points, _ in found):
            points, scores = walk(root, part)
            if scores.mean() >= threshold:
                found.append((points, scores))
    found.sort(key=lambda pose: -pose[1].mean())
    poses = []
    for place, (points, scores) in enumerate(found):
        seen = np.zeros(17, bool)
        for others, _ in found[:place]:
            seen |= np.linalg.norm(points - others, axis=1) <= radius
        poses.append(Pose(scores[~seen].sum() / 17, points[:, ::-1] * stride, scores))
    poses.sort(key=lambda pose: -pose.score)
    return [pose for pose in poses if pose.score >= threshold]


@pytest.mark.parametrize("name", ["people_stride16", "people_stride8", "people_stride32", "noise"])
def test_agrees_with_the_rules_said_plainly(name: str) -> None:
    case, tensors = bundled(name)
    # No ties, which the plain form does not break as a heap does.
    tensors[0] += np.random.default_rng(1).normal(0, 1e-3, tensors[0].shape).astype(np.float32)
    for threshold in (0.5, 0.3, 0.1):
        settings = {"max_poses": 10, "score_threshold": threshold, "nms_radius_px": 15.0}
        poses = posenet_coral.decode_poses(*tensors, stride=case["stride"], **settings)
        plain = direct(tensors, case["stride"], settings)
        assert len(poses) == len(plain)
        assert len(poses) >= len(case["people_yx"])
        for pose, other in zip(poses, plain, strict=True):
            assert np.abs(pose.xy - other.xy).max() < 0.05
            assert pose.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("name", ["people_stride8", "people_stride16", "people_stride32"])
def test_drawn_people_are_found_where_they_were_drawn(name: str) -> None:
    case, tensors = bundled(name)
    poses = posenet_coral.decode_poses(*tensors, stride=case["stride"], **SETTINGS)
    drawn = np.array(case["people_yx"])[..., ::-1]
    height, width, _ = tensors[0].shape
    drawn = np.clip(drawn, 0, (np.array((width, height)) - 1) * case["stride"])
    for person in drawn:
        off = min(np.linalg.norm(pose.xy - person, axis=-1).max() for pose in poses)
        assert off < 1.0


@pytest.mark.parametrize("name", sorted(path.stem for path in BUNDLED.glob("*.json")))
def test_what_comes_out_keeps_the_rules(name: str) -> None:
    case, tensors = bundled(name)
    poses = posenet_coral.decode_poses(*tensors, stride=case["stride"], **SETTINGS)
    height, width, _ = tensors[0].shape
    scores = [pose.score for pose in poses]
    assert scores == sorted(scores, reverse=True)
    assert len(poses) <= SETTINGS["max_poses"]
    for pose in poses:
        assert pose.score >= SETTINGS["score_threshold"]
        assert (pose.xy >= 0).all()
        assert (pose.xy <= (np.array((width, height)) - 1) * case["stride"]).all()


def test_ties_leave_the_queue_as_from_libstdcxx() -> None:
    """The expected order was printed by a C++ program with std::priority_queue (g++ 12)."""
    logits = [1.0, 2.0, 2.0, 0.0, 2.0, 1.0, 2.0, 1.0, 2.0, 0.0, 1.0, 2.0, 2.0, 1.0]
    order = list(posenet_coral._priority_order(logits))
    assert order == [1, 2, 6, 11, 12, 4, 8, 13, 10, 5, 0, 7, 9, 3]
