"""A photograph of a page that never was: picture, edge mask and quadrilateral, by seed.

The page lies in space before a pinhole camera, so that its perspective is one that a camera sees;
its sides may sag a little. Same seed, size and library versions, same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.core.quadrilateral import Corners, area, clockwise
from edgecam.tools.train.documents import clutter, light, texture
from edgecam.tools.train.documents.page import page

# Drawn larger than asked for, then shrunk: edges lie between pixels as in a photograph.
_OVERSAMPLING = 1.5
# Width of a drawn edge over the shorter side of the picture.
EDGE_WIDTH = 0.016
_SIDE_POINTS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A rendered photograph.

    ``image``: uint8[H, W, 3] in BGR. ``edges``: uint8[H, W], 255 on the page's outline, soft at
    its borders, 0 elsewhere. ``corners``: float64[4, 2], pixel indices, clockwise from the top
    left; None where there is no page. ``ratio``: the page's width over its
    height, its first side in ``corners`` being the width.
    """

    image: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    corners: Corners | None
    ratio: float | None = None


def render(seed: int, width: int = 640, height: int = 480, *, empty: bool = False) -> Scene:
    """Render a page on a cluttered table, or with ``empty`` the table alone."""
    rng = np.random.default_rng(seed)
    wide, high = round(width * _OVERSAMPLING), round(height * _OVERSAMPLING)
    table = texture.background(rng, wide, high)
    clutter.scatter(rng, table, int(rng.choice([0, 3, 8])))
    edges = np.zeros((height, width), np.uint8)
    corners, shape = None, None
    if not empty:
        ratio = _ratio(rng)
        quad = _placed(rng, ratio, wide, high)
        sides = _outline(rng, quad, ratio)
        table = _laid(rng, table, quad, sides, ratio)
        _hands(rng, table, quad)
        to_small = np.array((width / wide, height / high))
        outline = (sides + 0.5) * to_small - 0.5
        thick = max(1, round(EDGE_WIDTH * min(width, height)))
        points = np.round(outline * 16).astype(np.int32)
        cv2.polylines(edges, [points], True, 255, thick, cv2.LINE_AA, shift=4)
        seen = (quad + 0.5) * to_small - 0.5
        corners = clockwise(seen)
        turns = int(np.argmin(np.abs(seen - corners[0]).sum(1)))
        shape = 1 / ratio if turns % 2 else ratio
    image = light.photographed(rng, light.lit(rng, table), width, height)
    return Scene(image, edges, corners, shape)


def _ratio(rng: np.random.Generator) -> float:
    """Width over height: mostly office paper, then receipts, cards, squares."""
    common = rng.choice([210 / 297, 8.5 / 11, 85.6 / 54, 1.0, 0.45], p=[0.5, 0.22, 0.1, 0.08, 0.1])
    ratio = float(common) * float(np.exp(rng.normal(0, 0.05)))
    return 1 / ratio if rng.random() < 0.15 else ratio


def _placed(rng: np.random.Generator, ratio: float, width: int, height: int) -> Corners:
    """Where a camera sees the page's corners (top left first, by the page), wholly inside."""
    half = np.array((ratio, 1.0)) / np.sqrt(ratio) / 2
    flat = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * half
    margin = 0.015 * min(width, height)
    focal = max(width, height) * rng.uniform(0.7, 1.5)
    wanted = np.sqrt(rng.uniform(0.12, 1.0) * width * height)
    best, best_reach = flat * 0.5 * min(width, height) + (width / 2, height / 2), np.inf
    for _ in range(25):
        turn = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.22)
        if rng.random() < 0.2:
            turn = rng.uniform(0, 2 * np.pi)
        tilt, axis = min(abs(rng.normal(0, 0.42)), 1.0), rng.uniform(0, 2 * np.pi)
        spin = cv2.Rodrigues(np.array((0.0, 0.0, turn)))[0]
        lean = cv2.Rodrigues(np.array((np.cos(axis), np.sin(axis), 0.0)) * tilt)[0]
        space = np.column_stack((flat, np.zeros(4))) @ (lean @ spin).T
        space[:, 2] += focal / wanted
        space[:, :2] += rng.normal(0, 0.28, 2) * space[:, 2:].mean() * min(width, height) / focal
        if space[:, 2].min() < 0.2:
            continue
        quad = space[:, :2] / space[:, 2:] * focal + (width / 2, height / 2)
        out = np.maximum(margin - quad, quad - (width - margin, height - margin)).max()
        if area(quad) < 0.07 * width * height:
            continue
        if out <= 0:
            return np.asarray(quad, np.float64)
        if out < best_reach:
            best, best_reach = quad, out
    if best_reach < np.inf:
        best = _pulled_in(best, margin, width, height)
    return np.asarray(best, np.float64)


def _pulled_in(quad: Corners, margin: float, width: int, height: int) -> Corners:
    """The same view, moved and shrunk until it fits."""
    low, high = quad.min(0), quad.max(0)
    room = np.array((width, height)) - 2 * margin
    scale = min(1.0, float((room / (high - low)).min()))
    centre = np.clip((low + high) / 2, margin + (high - low) * scale / 2, None)
    centre = np.minimum(centre, np.array((width, height)) - margin - (high - low) * scale / 2)
    return np.asarray((quad - (low + high) / 2) * scale + centre, np.float64)


def _face_size(quad: Corners, ratio: float) -> tuple[int, int]:
    """Pixels that a page's face needs to look sharp but not coarse where ``quad`` shows it."""
    sides = np.linalg.norm(np.roll(quad, -1, 0) - quad, axis=1)
    height = float(np.clip(1.15 * max(sides[1], sides[3], sides[0] / ratio), 40, 1600))
    return max(24, round(height * ratio)), round(height)


def _outline(rng: np.random.Generator, quad: Corners, ratio: float) -> Corners:
    """The page's border, float64[N, 2]: straight sides, or a little sag as of real paper."""
    width, height = _face_size(quad, ratio)
    box = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float64)
    sag = rng.normal(0, 0.008, 4) if rng.random() < 0.35 else np.zeros(4)
    steps = np.linspace(0, 1, _SIDE_POINTS, endpoint=False)[:, None]
    parts = []
    for side in range(4):
        start, end = box[side], box[(side + 1) % 4]
        normal = np.array((end[1] - start[1], start[0] - end[0]))
        parts.append(start + steps * (end - start) + 4 * steps * (1 - steps) * normal * sag[side])
    view = cv2.getPerspectiveTransform(box.astype(np.float32), quad.astype(np.float32))
    seen = cv2.perspectiveTransform(np.concatenate(parts)[None], view)[0]
    return np.asarray(seen, np.float64)


def _laid(
    rng: np.random.Generator, table: texture.Field, quad: Corners, sides: Corners, ratio: float
) -> texture.Field:
    """The table with the page on it, float32[H, W, 3]."""
    high, wide = table.shape[:2]
    face = page(rng, *_face_size(quad, ratio))
    if rng.random() < 0.25:
        near = face.reshape(-1, 3).mean(0) + rng.normal(0, 12, 3)
        table = table * np.float32(0.25) + (near * 0.75).astype(np.float32)
    points = np.round(sides * 16).astype(np.int32)
    size = float(np.sqrt(area(quad)))
    if rng.random() < 0.8:
        drop = np.zeros((high, wide), np.float32)
        shift = np.round(sides * 16 + rng.normal(0, 0.012 * size * 16, 2)).astype(np.int32)
        cv2.fillPoly(drop, [shift], 1.0, cv2.LINE_AA, shift=4)
        drop = cv2.GaussianBlur(drop, (0, 0), max(0.6, size * rng.uniform(0.002, 0.03)))
        table = table * (1 - np.float32(rng.uniform(0.1, 0.7)) * drop[..., None])
    mask = np.zeros((high, wide), np.uint8)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, shift=4)
    h, w = face.shape[:2]
    box = np.array(((0, 0), (w, 0), (w, h), (0, h)), np.float32)
    view = cv2.getPerspectiveTransform(box, quad.astype(np.float32))
    seen = cv2.warpPerspective(face, view, (wide, high), borderMode=cv2.BORDER_REPLICATE)
    cover = mask[..., None].astype(np.float32) / 255
    if rng.random() < 0.3:
        waves = texture.cloud(rng, max(wide, high), 3, 2)[:high, :wide, None]
        seen = seen * (np.float32(0.88) + np.float32(0.24) * waves)
    return np.asarray(table * (1 - cover) + seen * cover, np.float32)


def _hands(rng: np.random.Generator, table: texture.Field, quad: Corners) -> None:
    """At times a thumb or two hold the page, or a pen lies over its edge, in place."""
    size = min(table.shape[:2]) * 0.1
    centre = quad.mean(0)
    for _ in range(int(rng.choice([0, 0, 0, 0, 1, 2]))):
        side = int(rng.integers(4))
        at = quad[side] + rng.uniform(0.15, 0.85) * (quad[(side + 1) % 4] - quad[side])
        away = (at - centre) / max(1.0, float(np.linalg.norm(at - centre)))
        if rng.random() < 0.7:
            clutter.finger(rng, table, at, away, size * rng.uniform(0.4, 1.2))
        else:
            clutter.pen(rng, table, at, size * rng.uniform(1.5, 4))
