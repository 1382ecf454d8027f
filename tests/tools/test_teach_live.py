"""Teaching before a live camera, in a terminal: the countdown, and what is said at the end."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import gestures
import numpy as np
from normalisation import in_tflite
from terminals import Terminal

from edgecam.inference.tflite.file import read
from tests.servers import Server

LABELS = ("wave", "none")
PICTURES, COUNTDOWN_S, RATE_HZ = 15, 3, 10


def clip(path: Path) -> None:
    """Three seconds of a person who waves."""
    size = (gestures.WIDTH_PX, gestures.HEIGHT_PX)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, size)
    rng = np.random.default_rng(6)
    for _ in range(60):
        writer.write(gestures.picture("wave", rng))
    writer.release()


def test_a_live_camera_counts_down_before_each_label(tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi")
    with Server("clip_camera.py", (str(tmp_path / "clip.avi"), "20")) as camera:
        url, made = f"http://127.0.0.1:{camera.port}/video", tmp_path / "g.tflite"
        options = ("--pictures", PICTURES, "--rate-hz", RATE_HZ, "--countdown-s", COUNTDOWN_S)
        command = (sys.executable, "-m", "edgecam", "teach", url, "--labels", ",".join(LABELS))
        size = ("--input-size", "129x129", "-o", made)
        terminal = Terminal(tmp_path, (*command, *options, *size))
        try:
            assert terminal.exit_code(250.0) == 0, terminal.text
            raw, shown = terminal.raw.decode(), terminal.text
        finally:
            terminal.close()
    said = re.findall(r"\x1b\[K([a-z]+ in \d+ \.\.\.|[a-z]+: \d+ of \d+)", raw)
    expected = []
    for label in LABELS:
        expected += [f"{label} in {left} ..." for left in range(COUNTDOWN_S, 0, -1)]
        expected += [f"{label}: {taken} of {PICTURES}" for taken in range(1, PICTURES + 1)]
    assert said == expected
    # At the end: three held out of each label, each seen as one of both.
    assert re.search(r"^is, seen as +wave +none", shown, re.MULTILINE)
    rows = [re.search(rf"^{label} +(\d+) +(\d+) *$", shown, re.MULTILINE) for label in LABELS]
    counts = [[int(text) for text in row.groups()] for row in rows if row is not None]
    assert [sum(row) for row in counts] == [3, 3]
    right = counts[0][0] + counts[1][1]
    assert f"held out: {right} of 6 right, accuracy {right / 6:.3f}" in shown
    # A person waved all the time: what was learnt is chance, and said to be.
    assert ("hardly better than guessing" in shown) == (right < 5)
    assert in_tflite(read(made)) == []
