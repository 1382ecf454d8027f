"""A real X display for window tests: Debian's Xvfb, and screenshots of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecam.core.opencv import cv2


@contextmanager
def display(width_px: int, height_px: int) -> Iterator[str]:
    """A fresh display's name; skips where Xvfb is not installed."""
    command = shutil.which("Xvfb")
    if command is None:
        pytest.skip("Xvfb is not installed (Debian: apt install xvfb)")
    read_end, write_end = os.pipe()
    # Without -noreset it throws out a client that connects just as the last other client leaves.
    screen = ["-screen", "0", f"{width_px}x{height_px}x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(
        [command, "-displayfd", str(write_end), *screen],
        pass_fds=[write_end],
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(120)


def screenshot(name: str, path: Path) -> NDArray[np.uint8]:
    """What is on the display now, uint8[H, W, 3] BGR; needs ImageMagick's import."""
    command = shutil.which("import")
    if command is None:
        pytest.skip("ImageMagick is not installed (Debian: apt install imagemagick)")
    subprocess.run([command, "-display", name, "-window", "root", str(path)], check=True)
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)
