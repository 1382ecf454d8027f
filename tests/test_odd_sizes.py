"""Pictures of one line, one column or one pixel go through every stage that looks at pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import edgecam

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.result import Result
from edgecam.pipeline.roi.motion_gate import Motion
from edgecam.sinks.render.overlay import draw
from edgecam.sinks.render.snapshot import jpeg, picture
from edgecam.sources.frozen_frame import Stillness

SIZES = [(1, 1), (1, 320), (320, 1), (1, 5000), (5000, 1), (70_000, 3), (3, 70_000)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_motion_and_stillness_take_any_size(width: int, height: int) -> None:
    still = np.full((height, width, 3), 60, np.uint8)
    motion, stillness = Motion(0.1, 10.0), Stillness(60.0)
    assert motion.seen(still, 0.0)
    assert not motion.seen(still, 1.0)
    assert not stillness.seen(still, 0.0)
    assert stillness.seen(still, 61.0)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", ["image", "blurred", "skeleton"])
def test_snapshots_take_any_size(width: int, height: int, mode: str) -> None:
    frame = Frame(np.full((height, width, 3), 60, np.uint8), 0, 0.0, 0.0)
    result = Result(frame, {})
    shown = picture(result, mode, 640)
    data = np.frombuffer(jpeg(shown, 80), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == shown.shape
    assert shown.shape[1] <= 640
    assert draw(result, "caption").shape == frame.image.shape


def test_a_folder_of_odd_sizes_runs_through_models_and_motion(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for width, height in SIZES:
        image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "shots" / f"{width}x{height}.png"), image)
    settings = tmp_path / "front.toml"
    settings.write_text(
        '[[model]]\npath = "posenet"\n[[model]]\npath = "documents"\n'
        '[[model]]\npath = "ssdlite"\n[motion]\nenabled = true\n[crop]\nenabled = true\n'
    )
    shots = tmp_path / "shots"
    done = edgecam("--config", settings, "--source", shots, "--jsonl", "-", timeout_s=200)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(SIZES)
    done = edgecam("scan", shots, "--output", tmp_path / "page.png", timeout_s=200)
    assert "no page found" in done.stderr
    assert "Traceback" not in done.stderr
