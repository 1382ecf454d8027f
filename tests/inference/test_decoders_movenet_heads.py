"""MoveNet's heads and MultiPose: against the published graphs, and against the rules in loops."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecam.cli.main import cli
from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.decoders.movenet_grid import MULTIPLE, SINGLE

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "conformance" / "movenet"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no vectors at {VECTORS}")
FLOAT = np.dtype(np.float32)
ALL = DecodeOptions(score_threshold=0.0, max_poses=6, min_pose_score=0.0)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["decode", *map(str, arguments)])


def recognised(side: int, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Decoder:
    image = TensorInfo(0, "image", (1, side, side, 3), FLOAT)
    pairs = enumerate(zip(names, shapes, strict=True), 1)
    outputs = [TensorInfo(index, name, shape, FLOAT) for index, (name, shape) in pairs]
    return decoders.recognise([image], outputs, FamilyContext())


def heads_decoder(heads: Any, cells: int, names: Sequence[str] | None = None) -> Decoder:
    shapes = [(1, cells, cells, depth) for depth in heads.values()]
    return recognised(4 * cells, names or list(heads), shapes)


def drawn(heads: Any, cells: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {
        name: rng.normal(0, 2, (cells, cells, depth)).astype(np.float32)
        for name, depth in heads.items()
    }
    if "box_scale" in found:
        found["box_scale"] = rng.uniform(-1, cells, (cells, cells, 2)).astype(np.float32)
    return found


def s(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def single_by_loops(h: dict[str, np.ndarray]) -> list[tuple[float, float, float]]:
    n = h["center"].shape[0]
    cells = [(y, x) for y in range(n) for x in range(n)]
    peak = max(cells, key=lambda at: s(h["center"][at][0]) / (math.dist(at, (n / 2, n / 2)) + 1.8))
    rows = []
    for k in range(17):
        move = h["kpt_regress"][peak].reshape(17, 2)[k]
        guess = (peak[0] + move[0], peak[1] + move[1])
        best = max(cells, key=lambda at: s(h["kpt_heatmap"][at][k]) / (math.dist(at, guess) + 1.8))
        offset = h["kpt_offset"][best].reshape(17, 2)[k]
        x, y = (4 * (best[1] + offset[1]), 4 * (best[0] + offset[0]))
        rows.append((x, y, s(h["kpt_heatmap"][best][k])))
    return rows


def people_by_loops(h: dict[str, np.ndarray]) -> list[tuple[float, np.ndarray]]:
    n = h["center"].shape[0]
    cells = [(y, x) for y in range(n) for x in range(n)]
    certain = {at: s(h["center"][at][0]) for at in cells}
    peaks = [
        at
        for at in cells
        if certain[at]
        >= max(v for o, v in certain.items() if max(abs(o[0] - at[0]), abs(o[1] - at[1])) < 2)
    ]
    found = []
    for peak in sorted(peaks, key=lambda at: -certain[at])[:6]:
        size = np.maximum(h["box_scale"][peak], 0)
        low = np.clip(np.add(peak, h["box_offset"][peak]) - size / 2, 0, n)
        high = np.clip(np.add(peak, h["box_offset"][peak]) + size / 2, 0, n)
        inside = [at for at in cells if all(low <= at) and all(at < high)]
        if not inside:
            continue
        rows = []
        for k in range(17):
            guess = np.add(peak, h["kpt_regress"][peak].reshape(17, 2)[k])

            def score(at: tuple[int, int], guess: np.ndarray = guess, k: int = k) -> float:
                return s(h["kpt_heatmap"][at][k]) * math.exp(-(math.dist(at, guess) ** 2) / 0.3 / n)

            best = max(inside, key=score)
            y, x = 4 * np.add(best, h["kpt_offset"][best].reshape(17, 2)[k])
            rows.append((x, y, score(best)))
        counted = [row[2] for row in rows if row[2] > 0.127]
        mean = sum(counted) / len(counted) if counted else 0.0
        found.append((certain[peak] * mean, np.array(rows)))
    return found


@needs_vectors
@pytest.mark.parametrize("name", ["couple_multipose256", "squat_multipose256"])
def test_multipose_heads_decode_as_the_published_graph(name: str) -> None:
    path = VECTORS / f"{name}.npz"
    rows = np.load(path)["expected"]
    expected = rows[rows[:, -1] >= 0.1]
    result = command(path, "--decoder", "movenet-multipose")
    poses = json.loads(result.stdout)["poses"]
    assert len(poses) == len(expected)
    for pose, row in zip(poses, expected, strict=True):
        found = np.array(pose["keypoints"])
        wanted = row[:51].reshape(17, 3)
        assert np.abs(found[:, :2] - wanted[:, :2] * 256).max() < 0.1
        assert abs(pose["score"] - row[-1]) < 0.03


@needs_vectors
@pytest.mark.parametrize(("name", "side"), [("squat_lightning192", 192), ("squat_thunder256", 256)])
def test_single_pose_heads_decode_as_the_published_graph(name: str, side: int) -> None:
    path = VECTORS / f"{name}.npz"
    expected = np.load(path)["expected"]
    (pose,) = json.loads(command(path, "--decoder", "movenet").stdout)["poses"]
    found = np.array(pose["keypoints"])
    assert np.abs(found[:, :2] - expected[:, :2] * side).max() < 0.1
    assert np.abs(found[:, 2] - expected[:, 2]).max() < 0.001


@needs_vectors
def test_multipose_whole_graph_rows_are_people(tmp_path: Path) -> None:
    vectors = np.load(VECTORS / "couple_multipose256.npz")
    np.savez(tmp_path / "whole.npz", input=vectors["input"], rows=vectors["expected"])
    whole = json.loads(command(tmp_path / "whole.npz", "--decoder", "movenet-multipose").stdout)
    heads = json.loads(
        command(VECTORS / "couple_multipose256.npz", "--decoder", "movenet-multipose").stdout
    )
    assert len(whole["poses"]) == len(heads["poses"]) == 2
    for one, other in zip(whole["poses"], heads["poses"], strict=True):
        assert np.abs(np.subtract(one["keypoints"], other["keypoints"])).max() < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_single_pose_heads_follow_the_rules(seed: int) -> None:
    heads = drawn(SINGLE, 12, seed)
    decoder = heads_decoder(SINGLE, 12)
    assert (decoder.family, decoder.finds) == ("movenet", "poses")
    (pose,) = decoder([heads[name][None] for name in SINGLE], ALL).poses
    rows = np.array(single_by_loops(heads))
    assert pose.xy == pytest.approx(rows[:, :2], abs=1e-4)
    assert pose.scores == pytest.approx(rows[:, 2], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_multipose_heads_follow_the_rules(seed: int) -> None:
    heads = drawn(MULTIPLE, 12, seed)
    decoder = heads_decoder(MULTIPLE, 12)
    poses = decoder([heads[name][None] for name in MULTIPLE], ALL).poses
    expected = people_by_loops(heads)
    assert len(poses) == len(expected) > 2
    for pose, (score, rows) in zip(poses, expected, strict=True):
        assert pose.score == pytest.approx(score, abs=1e-5)
        assert pose.xy == pytest.approx(rows[:, :2], abs=1e-4)
        assert pose.scores == pytest.approx(rows[:, 2], abs=1e-6)


def test_multipose_finds_as_many_people_as_are_asked_for() -> None:
    heads = drawn(MULTIPLE, 24, 0)
    heads["box_scale"] = np.abs(heads["box_scale"]) + 2
    decoder = heads_decoder(MULTIPLE, 24)
    tensors = [heads[name][None] for name in MULTIPLE]
    for count in (1, 6, 20):
        options = DecodeOptions(score_threshold=0.0, max_poses=count, min_pose_score=0.0)
        assert len(decoder(tensors, options).poses) == count


def test_heads_that_see_no_person_or_are_no_numbers_find_none() -> None:
    for heads in (SINGLE, MULTIPLE):
        decoder = heads_decoder(heads, 12)
        tensors = [np.full((1, 12, 12, depth), -60, np.float32) for depth in heads.values()]
        assert decoder(tensors, DecodeOptions(min_pose_score=0.1)).poses == ()
        tensors[-1][0, 0, 0, 0] = np.nan
        assert decoder(tensors, ALL).poses == ()


def test_heads_stand_in_any_order_and_are_recognised_by_name() -> None:
    names = [f"Stateful/{name}_0/conv2d_5/BiasAdd" for name in MULTIPLE]
    shapes = [(1, 16, 16, depth) for depth in MULTIPLE.values()]
    assert recognised(64, names, shapes).outputs == (0, 1, 2, 3, 4, 5)
    assert recognised(64, names[::-1], shapes[::-1]).outputs == (5, 4, 3, 2, 1, 0)


@pytest.mark.parametrize(("heads", "twins"), [(SINGLE, "kpt_regress"), (MULTIPLE, "box_scale")])
def test_nameless_heads_are_refused_in_one_line(heads: Any, twins: str) -> None:
    names = [f"Identity_{number}" for number in range(len(heads))]
    with pytest.raises(ModelError, match=f"{twins} and .* have one shape.*--outputs") as raised:
        heads_decoder(heads, 16, names)
    assert "\n" not in str(raised.value)


def test_whole_multipose_graph_is_recognised_and_a_yolo_is_not() -> None:
    decoder = recognised(256, ["Identity"], [(1, 6, 56)])
    assert (decoder.family, decoder.fit) == ("movenet-multipose", "letterbox")
    rows = np.zeros((1, 6, 56), np.float32)
    rows[0, 1] = 0.5
    rows[0, 2, -1] = 0.9  # a person of whom no keypoint is sure
    (pose,) = decoder([rows], DecodeOptions()).poses
    assert pose.xy[0].tolist() == [128.0, 128.0]
    with pytest.raises(ModelError, match="no known family"):
        recognised(64, ["Identity"], [(1, 17, 56, 84)])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rows": np.zeros((6, 56), np.float32)}, "size of the network's input is unknown"),
        ({"center": np.zeros((8, 8, 1), np.float32)}, "expected the outputs of movenet-multipose"),
        ({"center": np.full((8, 8, 1), np.nan, np.float32)}, "center holds NaN"),
        ({"center": np.zeros((8, 8, 1), np.uint8)}, "center is uint8 without its quantisation"),
        ({}, "expected the outputs of movenet-multipose, found none"),
    ],
)
def test_decode_of_another_familys_tensors_is_one_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    result = command(tmp_path / "a.npz", "--decoder", "movenet-multipose")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
