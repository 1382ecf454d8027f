"""The quadrilateral of a page in a map of edge probabilities.

Coordinates are cells of the map, indices: the centre of the first cell is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.core.quadrilateral import Corners, clockwise, overlap

Map = NDArray[np.float32]

# Cells above these are edge, the stricter first: a weak side joins in only at the second.
_LEVELS = (0.5, 0.25)
_LINES = 10
_LINE_VOTES = 18
# Lines nearer to each other than this are one: cells, and radians.
_SAME_CELLS, _SAME_ANGLE = 5.0, 0.16
# A page covers at least this share of the picture, and its corners are no needles.
_MIN_AREA = 0.03
_MIN_SINE = 0.25
# Where on each side the map is looked at, 0..1 from corner to corner.
_ALONG = np.linspace(0.04, 0.96, 33)
# How far inside, of the way to the middle, there is no edge any more.
_INWARD = 0.15
# How far off a side its edge is looked for when it is refined, cells.
_REACH = np.arange(-3.0, 3.01, 0.5)


# So many candidates are refined: the best ones, and then such as differ from those by this many
# cells. Of what overlaps more than that in the end, one is kept.
_REFINED, _ALWAYS, _APART = 6, 3, 3.0
_ALIKE = 0.85
# Scores nearer to each other than this say nothing about which one is the page.
_NEAR = 0.05
# What lies so far inside of another one, and is no sliver of it, is a sheet on a surface.
_INSIDE, _SLIVER = 0.96, 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """``corners``: float64[4, 2], cells; ``score``: 0..1, edge along its sides less that inside.

    ``runner_up``: another quadrilateral that is nearly as likely the page; None if none is.
    """

    corners: Corners
    score: float
    runner_up: Outline | None = None


def page(edges: Map) -> Outline | None:
    """Find the page in ``edges``, float32[h, w], 0..1; None where four sides are not to be had.

    Of two that are nearly equal the one within the other is taken: a sheet lies on a table, whose
    edges and those of the sheet make a larger quadrilateral with sides as clear.
    """
    found = _rated(edges)
    if not found:
        return None
    best, *others = found
    near = [other for other in others if other.score >= best.score - _NEAR]
    within = next((other for other in near if _lies_within(other, best)), None)
    if within is not None:
        return replace(within, runner_up=best)
    return replace(best, runner_up=near[0] if near else None)


def _lies_within(inner: Outline, outer: Outline) -> bool:
    areas = [float(cv2.contourArea(each.corners.astype(np.float32))) for each in (inner, outer)]
    union = overlap(inner.corners, outer.corners)
    shared = union * sum(areas) / (1.0 + union)
    return shared > _INSIDE * areas[0] and areas[0] > _SLIVER * areas[1]


def _rated(edges: Map) -> list[Outline]:
    """The likeliest pages, the best first, none like another."""
    candidates = np.concatenate((_from_contours(edges), _from_lines(edges)))
    candidates = candidates[_is_page(candidates, edges.shape)]
    if not len(candidates):
        return []
    likely = candidates[np.argsort(-_support(edges, candidates), kind="stable")]
    refined = np.array([_refined(edges, corners) for corners in _different(likely)])
    refined = refined[_is_page(refined, edges.shape)]
    if not len(refined):
        return []
    # A side is a line, not a plain: just inside of it there is less.
    inner = refined + _INWARD * (refined.mean(1, keepdims=True) - refined)
    scores = _support(edges, refined) - _support(edges, inner)
    best = np.argsort(-scores, kind="stable")
    found: list[Outline] = []
    for corners, score in zip(refined[best], scores[best].tolist(), strict=True):
        if all(overlap(corners, other.corners) < _ALIKE for other in found):
            found.append(Outline(clockwise(corners), min(1.0, score)))
    return found


def _different(likely: NDArray[np.float64]) -> list[Corners]:
    """The first ones of float64[N, 4, 2]: three as they come, then such as are not among them."""
    # By middle and spread: overlaps of hundreds would take longer than all the rest.
    marks = np.concatenate((likely.mean(1), likely.std(1)), 1)
    kept = list(range(min(_ALWAYS, len(likely))))
    left = np.ones(len(likely), bool)
    for _ in range(_REFINED - len(kept)):
        for place in kept:
            left &= np.abs(marks - marks[place]).max(1) > _APART
        if not left.any():
            break
        kept.append(int(np.argmax(left)))
    return [likely[place] for place in kept]


def _from_contours(edges: Map) -> NDArray[np.float64]:
    """The hulls of the largest contours as quadrilaterals, float64[N, 4, 2]."""
    quads: list[Corners] = []
    for level in _LEVELS:
        mask = (edges > level).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        hulls = [cv2.convexHull(contour) for contour in contours]
        for hull in sorted(hulls, key=cv2.contourArea, reverse=True)[:2]:
            quads += _from_hull(hull)
        if contours:
            # The pieces of an outline that something lies across.
            quads += _from_hull(cv2.convexHull(np.concatenate(contours)))
    return np.array(quads).reshape(-1, 4, 2)


def _from_hull(hull: NDArray[np.int32]) -> list[Corners]:
    length = cv2.arcLength(hull, True)
    for share in (0.02, 0.04, 0.07, 0.1):
        few = cv2.approxPolyDP(hull, share * length, True)
        if len(few) == 4:
            return [np.asarray(few[:, 0], np.float64)]
    return [np.asarray(cv2.boxPoints(cv2.minAreaRect(hull)), np.float64)] if len(hull) > 4 else []


def _from_lines(edges: Map) -> NDArray[np.float64]:
    """Every quadrilateral of four of the straightest lines, float64[N, 4, 2]."""
    found = cv2.HoughLines(_ridge(edges), 1.0, np.pi / 180.0, _LINE_VOTES)
    lines: list[tuple[float, float]] = []
    for rho, theta in [] if found is None else found[:200].reshape(-1, 2).tolist():
        if len(lines) < _LINES and not any(_same(rho, theta, *line) for line in lines):
            lines.append((rho, theta))
    if len(lines) < 4:
        return np.empty((0, 4, 2))
    lines.sort(key=lambda line: line[1])
    crossings = _crossings(np.array(lines))
    fours = np.array(list(combinations(range(len(lines)), 4)))
    # Sorted by direction, opposite sides are neighbours: the first two and the last two of the
    # four, or the first with the last and the two between.
    sides = np.concatenate((fours[:, (0, 2, 1, 3)], fours[:, (1, 3, 2, 0)]))
    quads: NDArray[np.float64] = crossings[sides, np.roll(sides, -1, 1)]
    return quads[np.isfinite(quads).all((1, 2))]


def _ridge(edges: Map) -> NDArray[np.uint8]:
    """The crest of the edges, one or two cells wide, uint8[h, w]."""
    smooth = cv2.GaussianBlur(edges, (3, 3), 0)
    crest = np.zeros(edges.shape, bool)
    inner = smooth[1:-1, 1:-1]
    for first, second in (
        (smooth[1:-1, :-2], smooth[1:-1, 2:]),
        (smooth[:-2, 1:-1], smooth[2:, 1:-1]),
    ):
        crest[1:-1, 1:-1] |= (inner >= first) & (inner >= second)
    return np.asarray(crest & (smooth > 0.2), np.uint8)


def _same(rho: float, theta: float, other_rho: float, other_theta: float) -> bool:
    turn = abs(theta - other_theta)
    if turn > np.pi / 2:
        # The same line may be written with its normal turned round.
        turn, other_rho = np.pi - turn, -other_rho
    return turn < _SAME_ANGLE and abs(rho - other_rho) < _SAME_CELLS


def _crossings(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[N, N, 2]: where any two of float64[N, 2] (rho, theta) meet, NaN if hardly."""
    rho, cosine, sine = lines[:, 0], np.cos(lines[:, 1]), np.sin(lines[:, 1])
    turn = np.outer(cosine, sine) - np.outer(sine, cosine)
    x = np.outer(rho, sine) - np.outer(sine, rho)
    y = np.outer(cosine, rho) - np.outer(rho, cosine)
    safe = np.where(np.abs(turn) < _MIN_SINE, np.nan, turn)
    return np.asarray(np.stack((x, y), 2) / safe[..., None], np.float64)


def _is_page(quads: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool[N]: which of float64[N, 4, 2] are convex, large enough and about inside the map."""
    sides = np.roll(quads, -1, 1) - quads
    lengths = np.maximum(np.linalg.norm(sides, axis=2), 1e-9)
    after = np.roll(sides, -1, 1)
    cross = sides[..., 0] * after[..., 1] - sides[..., 1] * after[..., 0]
    sines = cross / (lengths * np.roll(lengths, -1, 1))
    convex = (sines > _MIN_SINE).all(1) | (sines < -_MIN_SINE).all(1)
    size = np.array(shape[1::-1])
    inside = ((quads > -0.06 * size) & (quads < 1.06 * size)).all((1, 2))
    x, y = quads[..., 0], quads[..., 1]
    twice = (x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1)
    large = np.abs(twice) > 2 * _MIN_AREA * size.prod()
    return np.asarray(convex & inside & large, np.bool_)


def _sampled(edges: Map, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """The map between its cells at float64[..., 2], bilinear, 0 outside."""
    flat = np.asarray(points, np.float32).reshape(1, -1, 2)
    # remap takes at most 32767 columns.
    rows = [
        cv2.remap(edges, np.ascontiguousarray(part), None, cv2.INTER_LINEAR)
        for part in np.array_split(flat, flat.shape[1] // 32000 + 1, axis=1)
    ]
    return np.asarray(np.concatenate(rows, 1).reshape(points.shape[:-1]), np.float32)


def _support(edges: Map, quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[N] of float64[N, 4, 2]: mean of the map along all sides and along the weakest."""
    ends = np.roll(quads, -1, 1)
    points = quads[:, :, None] + _ALONG[:, None] * (ends - quads)[:, :, None]
    sides = _sampled(edges, points).mean(2, dtype=np.float64)
    return np.asarray((sides.mean(1) + sides.min(1)) / 2)


def _refined(edges: Map, corners: Corners) -> Corners:
    """Move every side onto the crest of the map beside it; corners are where sides meet."""
    for _ in range(3):
        ends = np.roll(corners, -1, 0)
        along = ends - corners
        lengths = np.maximum(np.linalg.norm(along, axis=1), 1e-9)
        normals = np.stack((-along[:, 1], along[:, 0]), 1) / lengths[:, None]
        base = corners[:, None] + _ALONG[:, None] * along[:, None]
        points = base[:, :, None] + _REACH[:, None] * normals[:, None, None]
        weights = np.square(_sampled(edges, points), dtype=np.float64)
        total = weights.sum(2)
        offsets = (weights * _REACH).sum(2) / np.maximum(total, 1e-6)
        lines = _fit(offsets, total)
        # Each side's new ends, still along its own direction.
        moved = base[:, 0] + lines[:, :1] * normals
        turned = along / lengths[:, None] + lines[:, 1:] / lengths[:, None] * normals
        crossed = _meet(np.roll(moved, 1, 0), np.roll(turned, 1, 0), moved, turned)
        if not np.isfinite(crossed).all():
            break
        corners = crossed
    return corners


def _fit(offsets: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offset at each side's first point and slope along it, float64[4, 2], of robust lines.

    ``offsets`` and ``weights`` are float64[4, N], of the points along each side.
    """
    at = _ALONG - _ALONG[0]
    trust = np.minimum(weights, np.median(weights, axis=1, keepdims=True) + 1e-3)
    found = np.zeros((len(offsets), 2))
    for _ in range(3):
        total, first, second = trust.sum(1), trust @ at, trust @ (at * at)
        level, lean = (trust * offsets).sum(1), (trust * offsets) @ at
        spread = np.maximum(total * second - first * first, 1e-12)
        slope = (total * lean - first * level) / spread
        found = np.stack(((level - slope * first) / np.maximum(total, 1e-9), slope), 1)
        # What lies off the line, as at a thumb, counts less each time.
        line = found[:, :1] + found[:, 1:] * at
        trust = weights / (1.0 + np.square((offsets - line) / 0.5))
    return found


def _meet(a: Corners, along_a: Corners, b: Corners, along_b: Corners) -> Corners:
    """float64[N, 2]: where lines through ``a`` and ``b`` meet, not finite for parallels."""
    turn = along_a[:, 0] * along_b[:, 1] - along_a[:, 1] * along_b[:, 0]
    gap = b - a
    share = (gap[:, 0] * along_b[:, 1] - gap[:, 1] * along_b[:, 0]) / np.where(
        np.abs(turn) < 1e-6, np.nan, turn
    )
    return np.asarray(a + share[:, None] * along_a, np.float64)
