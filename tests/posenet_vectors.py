"""Recorded PoseNet outputs and what reference decoders made of them, for the tests that need them.

``tests/data/posenet`` is made by ``scripts/make-decoder-vectors``; ``../shared`` may be absent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.result import Pose

BUNDLED = Path(__file__).parent / "data" / "posenet"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "conformance" / "posenet"
SHARED_FILES = sorted(SHARED.glob("*.json"))
NO_SHARED = f"no conformance vectors at {SHARED}"


def bundled(name: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What is recorded about a bundled case, and its heatmaps, offsets and displacements."""
    case = json.loads((BUNDLED / f"{name}.json").read_text())
    return case, float_set(BUNDLED / f"{name}.npz")


def float_set(path: Path) -> list[np.ndarray]:
    with np.load(path) as file:
        heatmaps, offsets, forward, backward = (
            file[key].astype(np.float32)
            for key in ("heatmaps", "offsets", "displacement_fwd", "displacement_bwd")
        )
    return [heatmaps, offsets, np.concatenate((forward, backward), axis=-1)]


def shared_set(path: Path, name: str) -> list[np.ndarray]:
    """Heatmaps, offsets and displacements of one tensor set of a shared file, float32."""
    if not name.startswith("coral_"):
        return float_set(path)
    with np.load(path) as file:

        def dequantised(key: str) -> np.ndarray:
            steps = file[f"{key}_u8"].astype(np.int32) - file[f"{key}_zero_point"]
            return steps.astype(np.float32) * np.float32(file[f"{key}_scale"])

        mid = f"{name.removesuffix('_comp').removesuffix('_full')}_full_mid_offsets"
        return [dequantised(key) for key in (f"{name}_heatmaps", f"{name}_short_offsets", mid)]


def differences(poses: Sequence[Pose], expected: list[dict[str, Any]]) -> tuple[Any, float]:
    """Pixels that each keypoint is off, [N, 17], and the largest difference of a score."""
    assert len(poses) == len(expected)
    if not expected:
        return np.zeros((0, 17)), 0.0
    rows = np.array([pose["keypoints"] for pose in expected])
    found = np.array([pose.xy[:, ::-1] for pose in poses])
    scores = np.array([pose.scores for pose in poses])
    totals = np.array([pose.score for pose in poses]) - [pose["score"] for pose in expected]
    off = np.abs(found - rows[..., :2]).max(axis=-1)
    return off, float(max(np.abs(scores - rows[..., 2]).max(), np.abs(totals).max()))
