"""What is printed on a page: headings, text, pictures, tables, rules and empty space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.tools.train.documents.texture import cloud, colour

Page = NDArray[np.uint8]
Ink = tuple[float, float, float]

_LETTERS = np.array(list("aaabcdeeeefghiiklmnnooprrsstttuvwy"))
# cv2.putText draws capitals 22 pixels high at scale 1.
_LETTER_PX = 22.0


def _words(rng: np.random.Generator, letters: int) -> str:
    text = "".join(rng.choice(_LETTERS, letters))
    return " ".join(text[at : at + 6] for at in range(0, letters, 6)).capitalize()


def _ink(rng: np.random.Generator, paper: float) -> Ink:
    level = rng.uniform(0, 110) if paper > 110 else rng.uniform(170, 255)
    tint = rng.normal(0, rng.choice([2, 35]), 3)
    return tuple(float(v) for v in np.clip(level + tint, 0, 255))  # type: ignore[return-value]


def _line(rng: np.random.Generator, page: Page, box: tuple[int, int, int, int], ink: Ink) -> None:
    """One line of text in ``box`` (x, y, width, height): letters, or bars where they are small."""
    x, y, width, height = box
    if height < 7:
        while x < box[0] + width - height:
            word = int(rng.integers(height, 5 * height))
            end = min(x + word, box[0] + width)
            cv2.line(page, (x, y + height // 2), (end, y + height // 2), ink, max(1, height // 2))
            x = end + max(2, height // 2)
        return
    scale = 0.62 * height / _LETTER_PX
    letters = max(2, int(width / (0.62 * height)))
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX_SMALL]))
    thick = max(1, round(height / 14))
    part = page[y : y + height, x : x + width]
    foot = int(0.75 * height)
    cv2.putText(part, _words(rng, letters), (0, foot), font, scale, ink, thick, cv2.LINE_AA)


def _text(rng: np.random.Generator, page: Page, box: tuple[int, int, int, int], ink: Ink) -> None:
    x, top, width, height = box
    size = int(max(4, rng.uniform(0.014, 0.04) * max(page.shape[:2])))
    pitch = max(size + 1, int(size * rng.uniform(1.1, 1.9)))
    for y in range(top, top + height - size, pitch):
        if rng.random() < 0.07:
            continue
        length = width if rng.random() < 0.75 else int(width * rng.uniform(0.2, 0.95))
        _line(rng, page, (x, y, length, size), ink)


def _picture(rng: np.random.Generator, page: Page, box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    side = max(width, height)
    field = cloud(rng, side, int(rng.integers(2, 9)), 4)[:height, :width, None]
    picture = colour(rng) * (1 - field) + colour(rng) * field
    for _ in range(int(rng.integers(0, 7))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        radius = int(rng.integers(2, max(3, side // 3)))
        cv2.circle(picture, centre, radius, [float(v) for v in colour(rng)], -1, cv2.LINE_AA)
    page[y : y + height, x : x + width] = picture.clip(0, 255).astype(np.uint8)


def _table(rng: np.random.Generator, page: Page, box: tuple[int, int, int, int], ink: Ink) -> None:
    x, y, width, height = box
    rows, columns = int(rng.integers(2, 12)), int(rng.integers(2, 7))
    if rng.random() < 0.4:
        shade = [float(v) for v in colour(rng, 120)]
        cv2.rectangle(page, (x, y), (x + width, y + height // rows), shade, -1)
    for row in range(rows + 1):
        at = y + row * height // rows
        cv2.line(page, (x, at), (x + width, at), ink, 1, cv2.LINE_AA)
    for column in range(columns + 1):
        at = x + column * width // columns
        cv2.line(page, (at, y), (at, y + height), ink, 1, cv2.LINE_AA)
    size = max(3, int(height / rows * 0.4))
    for row in range(rows):
        for column in range(columns):
            cell = (
                x + column * width // columns + 2,
                y + row * height // rows + size // 2,
                int(width / columns * rng.uniform(0.3, 0.8)),
                size,
            )
            if cell[2] > size:
                _line(rng, page, cell, ink)


def _ruled(rng: np.random.Generator, page: Page, ink: Ink) -> None:
    """A note pad: rules or squares to the edge, and some handwriting."""
    height, width = page.shape[:2]
    pitch = max(5, int(height * rng.uniform(0.015, 0.045)))
    rule = tuple(0.5 * v + 110 for v in ink)
    for y in range(pitch, height, pitch):
        cv2.line(page, (0, y), (width, y), rule, 1)
    if rng.random() < 0.5:
        for x in range(pitch, width, pitch):
            cv2.line(page, (x, 0), (x, height), rule, 1)
    for y in range(2 * pitch, int(height * rng.uniform(0.1, 0.9)), pitch):
        steps = np.arange(int(0.1 * width), int(width * rng.uniform(0.3, 0.9)), 3)
        wave = y - np.abs(rng.normal(0, pitch * 0.35, steps.size))
        points = np.stack((steps, wave), 1).astype(np.int32)
        if len(points) > 1:
            cv2.polylines(page, [points], False, ink, 1, cv2.LINE_AA)


def _printed(rng: np.random.Generator, page: Page, ink: Ink) -> None:
    """A heading, then columns of blocks, inside margins."""
    height, width = page.shape[:2]
    margin = int(min(height, width) * rng.uniform(0.03, 0.13))
    y = margin
    if rng.random() < 0.6:
        size = int(height * rng.uniform(0.03, 0.09))
        _line(rng, page, (margin, y, int((width - 2 * margin) * rng.uniform(0.3, 1)), size), ink)
        y += int(size * 1.5)
    columns = int(rng.choice([1, 1, 1, 2, 3]))
    pitch = (width - 2 * margin) // columns
    for column in range(columns):
        x, at = margin + column * pitch, y
        while at < height - margin - 20:
            block = int(min(height * rng.uniform(0.06, 0.45), height - margin - at))
            box = (x, at, max(8, int(pitch * 0.94)), max(8, block - 6))
            kind = rng.choice(["text", "picture", "table", "space"], p=[0.66, 0.13, 0.11, 0.1])
            if kind == "text":
                _text(rng, page, box, ink)
            elif kind == "picture":
                _picture(rng, page, box)
            elif kind == "table":
                _table(rng, page, box, ink)
            at += block


def page(rng: np.random.Generator, width: int, height: int) -> Page:
    """A page's face, uint8[height, width, 3] in BGR."""
    level = rng.uniform(215, 255) if rng.random() < 0.8 else rng.uniform(40, 215)
    paper = np.clip(level + rng.normal(0, rng.choice([3, 20], p=[0.8, 0.2]), 3), 10, 255)
    face = np.broadcast_to(paper.astype(np.uint8), (height, width, 3)).copy()
    ink = _ink(rng, float(paper.mean()))
    kind = rng.choice(["printed", "cover", "ruled", "empty"], p=[0.78, 0.06, 0.11, 0.05])
    if kind == "cover":
        _picture(rng, face, (0, 0, width, height))
        _line(rng, face, (width // 10, height // 8, int(width * 0.7), height // 10), ink)
    elif kind == "ruled":
        _ruled(rng, face, ink)
    elif kind == "printed":
        _printed(rng, face, ink)
    if rng.random() < 0.12:
        frame = int(min(width, height) * rng.uniform(0.015, 0.06))
        cv2.rectangle(face, (frame, frame), (width - frame, height - frame), ink, 1, cv2.LINE_AA)
    return face
