"""Frames of the bundled clip in which a person holds a letter before the camera, or none does."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from programs import CLIP

from edgecam.tools.train.documents.page import page

LABELS = ("letter", "nothing")
FACE_PX = (420, 594)
Corners = NDArray[np.float64]


@cache
def _walkers() -> tuple[NDArray[np.uint8], ...]:
    """Every frame of the clip, uint8[576, 768, 3]."""
    capture, found = cv2.VideoCapture(str(CLIP)), []
    while True:
        is_there, image = capture.read()
        if not is_there:
            return tuple(found)
        found.append(image)


def placed(rng: np.random.Generator) -> Corners:
    """Where the camera sees a letter's corners, float64[4, 2] of (x, y), from its top left on."""
    height = rng.uniform(210, 330)
    width = height / 2**0.5
    half = np.array(((-width, -height), (width, -height), (width, height), (-width, height))) / 2
    turn, lean = rng.uniform(-0.3, 0.3), rng.uniform(-0.06, 0.06)
    half *= 1.0 + lean * np.array((1.0, 1.0, -1.0, -1.0))[:, None]
    spin = np.array(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))))
    centre = rng.uniform((200, 230), (568, 346))
    return np.asarray(half @ spin.T + centre)


def picture(number: int, corners: Corners | None, seed: int) -> NDArray[np.uint8]:
    """The clip's frame ``number``, with the letter ``seed`` at ``corners``."""
    walkers = _walkers()
    image = walkers[number % len(walkers)]
    if corners is None:
        return image
    face = page(np.random.default_rng(seed), *FACE_PX)
    width, height = FACE_PX
    box = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32) - np.float32(0.5)
    size = image.shape[1::-1]
    view = cv2.getPerspectiveTransform(box, corners.astype(np.float32))
    seen = cv2.warpPerspective(face, view, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full(face.shape[:2], 255, np.uint8), view, size) / 255.0
    shade = cv2.GaussianBlur(np.roll(mask, (8, 6), (0, 1)), (0, 0), 9)
    ground = image * (1.0 - 0.35 * shade)[..., None]
    share = mask[..., None]
    return np.asarray(ground * (1.0 - share) + seen * share, np.uint8)


def write(folder: Path, count: int, seed: int) -> None:
    """Write ``count`` pictures of each label, a folder for each."""
    rng = np.random.default_rng(seed)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            corners = placed(rng) if label == "letter" else None
            image = picture(int(rng.integers(100)), corners, int(rng.integers(1 << 30)))
            cv2.imwrite(str(folder / label / f"{number:03}.jpg"), image)


def record(folder: Path, count: int, seed: int) -> list[Corners | None]:
    """Write ``count`` frames, in the second half of which a letter is held still; return where."""
    folder.mkdir(parents=True)
    corners = placed(np.random.default_rng(seed))
    where = [None if number < count // 2 else corners for number in range(count)]
    for number, there in enumerate(where):
        cv2.imwrite(str(folder / f"{number:04}.png"), picture(number, there, seed))
    return where
