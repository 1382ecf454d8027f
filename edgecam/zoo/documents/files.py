"""Rendered photographs of pages as files: pictures, and the truth about their corners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgecam.opencv import cv2
from edgecam.types import EdgecamError
from edgecam.zoo.documents.scene import render

TRUTH = "corners.json"


def write(folder: Path, seeds: Sequence[int], width: int, height: int) -> None:
    """Write ``page-SEED.png`` for each seed, and ``corners.json``: file name to [[x, y] * 4].

    Raises:
        EdgecamError: the folder cannot be written.
    """
    truth = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            scene = render(seed, width, height)
            name = f"page-{seed:07d}.png"
            (folder / name).write_bytes(cv2.imencode(".png", scene.image)[1].tobytes())
            if scene.corners is not None:
                truth[name] = scene.corners.round(2).tolist()
        (folder / TRUTH).write_text(json.dumps(truth, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise EdgecamError(f"cannot write into {folder}: {error.strerror}") from None
