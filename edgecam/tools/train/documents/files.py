"""Rendered photographs of pages as files: pictures, and the truth about their corners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgecam.core import atomic_file as whole_file
from edgecam.core.opencv import cv2
from edgecam.tools.train.documents.scene import render

TRUTH = "corners.json"


def write(folder: Path, seeds: Sequence[int], width: int, height: int) -> None:
    """Write ``page-SEED.png`` for each seed, and ``corners.json``: file name to [[x, y] * 4].

    Raises:
        OutputError: the folder cannot be written.
    """
    whole_file.check_folder(folder)
    truth = {}
    for seed in seeds:
        scene = render(seed, width, height)
        name = f"page-{seed:07d}.png"
        whole_file.write(folder / name, cv2.imencode(".png", scene.image)[1].tobytes())
        if scene.corners is not None:
            truth[name] = scene.corners.round(2).tolist()
    whole_file.write(folder / TRUTH, f"{json.dumps(truth, indent=1)}\n".encode())
