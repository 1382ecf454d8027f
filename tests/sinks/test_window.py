"""``--show`` in a real window on a real X display."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from brokers import wait_until
from displays import display, screenshot
from programs import CLIP, edgecam, environment, error_line

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.result import Result
from edgecam.inference.model import Model
from edgecam.settings.schema import DecodeSettings, InferenceSettings, ModelSettings
from edgecam.sinks.render.overlay import draw

# Without a window manager one in ten windows of any program of OpenCV's Qt stays black.
WINDOWS_AT_MOST = 4


def picture(path: Path) -> None:
    capture = cv2.VideoCapture(str(CLIP))
    ok, image = capture.read()
    assert ok
    cv2.imwrite(str(path), image)


def expected(path: Path) -> np.ndarray:
    """What the overlay of the same picture is, without the caption."""
    frame = Frame(cv2.imread(str(path)), 0, 0.0, 0.0)
    model = Model(ModelSettings(path="posenet"), InferenceSettings())
    staged = model.preprocess(frame, model.buffer())
    options = DecodeSettings().options()
    found = model.decode(model.invoke(staged), staged, frame, options)
    assert len(found.poses) >= 2
    return draw(Result(frame, {model.name: found}))


def window_count(name: str) -> int:
    command = shutil.which("xdotool")
    if command is None:
        pytest.skip("xdotool is not installed (Debian: apt install xdotool)")
    found = subprocess.run(
        [command, "search", "--name", "edgecam camera"],
        capture_output=True,
        text=True,
        env=environment(DISPLAY=name),
        check=False,
    )
    return len(found.stdout.split())


def difference(screen: np.ndarray, overlay: np.ndarray) -> float:
    """How much the picture that is most alike on the screen differs, grey levels of 255."""
    match = cv2.matchTemplate(screen, overlay, cv2.TM_SQDIFF)
    return float(np.sqrt(max(match.min(), 0.0) / overlay.size))


def test_the_window_shows_the_skeletons_where_they_are(tmp_path: Path) -> None:
    path, caption_px = tmp_path / "people.png", 40
    picture(path)
    overlay = expected(path)
    overlay = overlay[: overlay.shape[0] - caption_px]
    command = [sys.executable, "-m", "edgecam", "--model", "posenet", "--source", path, "--show"]
    for _ in range(WINDOWS_AT_MOST):
        with display(800, 600) as name:
            running = subprocess.Popen(
                command, env=environment(DISPLAY=name), stderr=subprocess.PIPE, text=True
            )
            try:
                assert wait_until(lambda: window_count(name) or running.poll() is not None, 30)  # noqa: B023
                is_shown = wait_until(
                    lambda: difference(screenshot(name, tmp_path / "screen.png"), overlay) < 2.0,
                    2.0,
                )
                # A single picture stays until a key is pressed.
                assert running.poll() is None
                subprocess.run(["xdotool", "key", "q"], env=environment(DISPLAY=name), check=True)
                _, errors = running.communicate(timeout=120)
            finally:
                running.kill()
        assert running.returncode == 0, errors
        assert "QFont" not in errors
        if is_shown:
            return
    raise AssertionError(f"{WINDOWS_AT_MOST} windows differ from the overlay")


def test_a_clip_plays_and_the_window_goes_with_it() -> None:
    with display(800, 600) as name:
        done = edgecam(
            *("--model", "posenet", "--source", CLIP, "--show", "--max-frames", 10), DISPLAY=name
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["", ":4711"])
def test_no_display_is_one_clear_line(name: str) -> None:
    done = edgecam(
        *("--model", "posenet", "--source", CLIP, "--show"),
        DISPLAY=name,
        WAYLAND_DISPLAY="",
        QT_QPA_PLATFORM="",
    )
    line = error_line(done)
    assert "--show needs a display" in line
    assert "with --web" in line
    assert "--jsonl" in line
