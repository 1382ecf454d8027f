"""From edge maps to the page: known quadrilaterals, gaps, clutter, frames, messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecam.analysis.page_smoothing import SteadyPages
from edgecam.core.errors import ModelError
from edgecam.core.frame import Frame
from edgecam.core.geometry import stretch, to_source
from edgecam.core.protocols import DecodeOptions
from edgecam.core.quadrilateral import area, clockwise, overlap
from edgecam.core.result import Decoded, Document, Result
from edgecam.core.tensors import TensorInfo
from edgecam.inference.decoders import page_corners as outline
from edgecam.inference.decoders import recognise
from edgecam.inference.decoders.documents import Documents
from edgecam.inference.decoders.family import FamilyContext
from edgecam.messages.result import RunnerUp, _document, result_line

PAGES = (
    ((20, 15), (108, 22), (112, 110), (14, 104)),
    ((60, 10), (118, 62), (64, 118), (8, 58)),
    ((30, 40), (100, 48), (92, 80), (26, 76)),
    ((3, 4), (124, 2), (125, 126), (2, 123)),
)


def drawn(corners: Any, side: int = 128, width: float = 2.0) -> np.ndarray:
    """An edge map, float32[side, side]: a soft line of about two cells, exactly on the corners."""
    large = np.zeros((8 * side, 8 * side), np.uint8)
    points = np.round(((np.asarray(corners, float) + 0.5) * 8 - 0.5) * 16).astype(np.int32)
    cv2.polylines(large, [points], True, 255, round(8 * width), cv2.LINE_AA, shift=4)
    small = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def info(name: str, shape: tuple[int, ...]) -> TensorInfo:
    return TensorInfo(0, name, shape, np.dtype(np.float32))


def corner_error(found: np.ndarray, corners: Any) -> float:
    expected = clockwise(np.asarray(corners, float))
    return float(np.linalg.norm(found - expected, axis=1).max())


@pytest.mark.parametrize("corners", PAGES)
def test_corners_are_found_to_a_fraction_of_a_cell(corners: Any) -> None:
    found = outline.page(drawn(corners))
    assert found is not None
    assert corner_error(found.corners, corners) < 0.25
    assert found.score > 0.8


@pytest.mark.parametrize("corners", PAGES[:3])
def test_gaps_clutter_and_noise_hardly_move_it(corners: Any) -> None:
    edges = drawn(corners)
    middle = (np.array(corners[0]) + corners[1]) / 2
    x, y = middle.astype(int)
    edges[y - 7 : y + 7, x - 7 : x + 7] = 0.0
    cv2.line(edges, (0, 120), (127, 126), 0.4, 1)
    noisy = edges + np.random.default_rng(3).normal(0.0, 0.04, edges.shape)
    found = outline.page(noisy.clip(0.0, 1.0).astype(np.float32))
    assert found is not None
    assert corner_error(found.corners, corners) < 1.0


def test_a_missing_corner_is_where_the_sides_meet() -> None:
    edges = drawn(PAGES[0])
    edges[:28, :34] = 0.0
    found = outline.page(edges)
    assert found is not None
    assert corner_error(found.corners, PAGES[0]) < 0.6


@pytest.mark.parametrize(
    "edges",
    [
        np.zeros((128, 128), np.float32),
        np.ones((128, 128), np.float32),
        np.random.default_rng(0).random((128, 128)).astype(np.float32) * 0.3,
        np.eye(128, dtype=np.float32),
    ],
    ids=["nothing", "everything", "noise", "one line"],
)
def test_no_page_where_there_is_none(edges: np.ndarray) -> None:
    found = outline.page(edges)
    assert found is None or found.score < 0.5


def test_half_a_page_scores_low() -> None:
    edges = drawn(PAGES[0])
    edges[64:] = 0.0
    found = outline.page(edges)
    assert found is None or found.score < 0.5


def documents(name: str = "edges", shape: tuple[int, ...] = (1, 128, 128, 1)) -> Any:
    return recognise([info("image", (1, 256, 256, 3))], [info(name, shape)], FamilyContext())


def test_the_family_is_recognised_by_shape_and_name() -> None:
    assert documents().family == "documents"
    assert documents().fit == "stretch"
    with pytest.raises(ModelError):
        documents("depth")
    with pytest.raises(ModelError):
        documents("edges", (1, 128, 128, 2))


def test_of_an_hed_with_side_outputs_the_fused_one_counts() -> None:
    names = ("hed/side1", "hed/fuse", "hed/side2")
    maps = [info(name, (1, 256, 256, 1)) for name in names]
    found = recognise([info("image", (1, 256, 256, 3))], maps, FamilyContext())
    assert found.outputs == (1,)


def test_logits_and_probabilities_give_the_same_page() -> None:
    edges = drawn(PAGES[0]).clip(1e-3, 1 - 1e-3)
    logits = np.log(edges / (1 - edges))
    decoder, options = documents(), DecodeOptions()
    pages = [decoder([each[None, ..., None]], options).documents[0] for each in (edges, logits)]
    np.testing.assert_allclose(pages[0].corners, pages[1].corners, atol=1e-3)


def test_a_score_below_the_threshold_is_no_page() -> None:
    tensor = drawn(PAGES[0])[None, ..., None] * np.float32(0.6)
    assert not documents()([tensor], DecodeOptions(score_threshold=0.9)).documents
    assert documents()([tensor], DecodeOptions(score_threshold=0.3)).documents


def test_corners_reach_the_message_in_source_pixels() -> None:
    decoder = documents()
    found = decoder([drawn(PAGES[0])[None, ..., None]], DecodeOptions())
    source = to_source(found, stretch((1280, 720), (256, 256)), 1280, 720)
    # The first cell's centre is half a cell in, of 10 by 5.625 source pixels.
    expected = (np.array(PAGES[0]) + 0.5) * (10.0, 5.625) - 0.5
    np.testing.assert_allclose(source.documents[0].corners, expected, atol=2.5)
    frame = Frame(np.zeros((720, 1280, 3), np.uint8), 0, 0.0, 0.0, file="a.jpg")
    line = json.loads(result_line(Result(frame, {"hed": source}), "desk", "b", 0.0))
    page = line["documents"][0]
    assert set(page) == {"corners", "score"}
    assert page["corners"][0] == {
        "x": round(source.documents[0].corners[0, 0], 1),
        "y": round(source.documents[0].corners[0, 1], 1),
    }
    empty = json.loads(result_line(Result(frame, {"hed": Decoded()}), "desk", "b", 0.0))
    assert "documents" not in empty


def test_corners_are_ordered_clockwise_from_the_top_left() -> None:
    page = np.array(((10.0, 5.0), (90.0, 8.0), (95.0, 60.0), (4.0, 66.0)))
    for turn in range(4):
        np.testing.assert_array_equal(clockwise(np.roll(page, turn, 0)), page)
        np.testing.assert_array_equal(clockwise(np.roll(page[::-1], turn, 0)), page)


def test_overlap_and_area() -> None:
    square = np.array(((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)))
    assert area(square) == 100.0
    assert overlap(square, square) == pytest.approx(1.0)
    assert overlap(square, square + np.array((5.0, 0.0))) == pytest.approx(1 / 3)
    assert overlap(square, square + 20.0) == 0.0


def test_a_page_that_lies_still_is_published_still() -> None:
    rng = np.random.default_rng(1)
    page = np.array(((100.0, 80.0), (500.0, 90.0), (510.0, 400.0), (90.0, 390.0)))
    steady = SteadyPages(max_age_s=1.0)
    seen = [page + rng.normal(0.0, 2.0, (4, 2)) for _ in range(60)]
    out = [
        steady((Document(0.9, corners),), frame / 15.0)[0].corners
        for frame, corners in enumerate(seen)
    ]
    raw, smooth = (np.std(np.array(each)[20:], axis=0).mean() for each in (seen, out))
    assert smooth < 0.5 * raw


def test_a_page_put_elsewhere_is_there_at_once() -> None:
    page = np.array(((100.0, 80.0), (300.0, 90.0), (310.0, 300.0), (90.0, 290.0)))
    steady = SteadyPages(max_age_s=1.0)
    steady((Document(0.9, page),), 0.0)
    moved = steady((Document(0.9, page + 250.0),), 0.1)
    np.testing.assert_allclose(moved[0].corners, page + 250.0)


def test_a_page_that_turns_keeps_its_shape() -> None:
    """The first corner changes at 45 degrees; no frame may mix the corners up."""
    half = np.array(((-100.0, -70.0), (100.0, -70.0), (100.0, 70.0), (-100.0, 70.0)))
    steady = SteadyPages(max_age_s=1.0)
    for frame in range(90):
        turn = np.radians(frame)
        spin = np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))
        found = steady((Document(0.9, clockwise(half @ spin + 300.0)),), frame / 30.0)[0].corners
        assert area(found) > 0.9 * area(half)
        np.testing.assert_array_equal(found, clockwise(found))


def test_what_is_no_number_is_no_edge() -> None:
    tensor = drawn(PAGES[0])[None, ..., None].copy()
    tensor[0, 60, 60] = np.nan
    decoder = replace(documents(), probabilities=True)
    assert decoder([tensor], DecodeOptions()).documents
    assert not decoder([np.full_like(tensor, np.nan)], DecodeOptions()).documents


def _sheet_on_a_board(board: float, sheet: float) -> np.ndarray:
    """Edges of a board, of which a sheet covers the right half: they share three sides."""
    edges = np.zeros((128, 128), np.float32)
    cv2.rectangle(edges, (20, 24), (100, 104), 0.8, 2)
    # The board's own half is less clear than where the sheet lies on it.
    for row in (24, 104):
        cv2.line(edges, (20, row), (58, row), 0.7, 2)
    cv2.line(edges, (20, 24), (20, 104), board, 2)
    cv2.line(edges, (60, 24), (60, 104), sheet, 2)
    return cv2.GaussianBlur(edges, (3, 3), 0)


def test_of_two_that_are_nearly_equal_the_sheet_on_the_surface_is_the_page() -> None:
    found = outline.page(_sheet_on_a_board(0.8, 0.72))
    assert found is not None
    assert found.corners[:, 0].min() > 55
    assert found.runner_up is not None
    assert found.runner_up.corners[:, 0].min() < 25


def test_a_line_within_a_page_that_is_weaker_is_no_sheet() -> None:
    found = outline.page(_sheet_on_a_board(0.8, 0.35))
    assert found is not None
    assert found.corners[:, 0].min() < 25
    assert found.runner_up is None


def test_a_runner_up_is_carried_into_pixels_and_into_the_message() -> None:
    edges = _sheet_on_a_board(0.8, 0.72)
    decoder = Documents(why="", cell_px=(4.0, 2.0), probabilities=True)
    (page,) = decoder((edges[None, :, :, None],), DecodeOptions()).documents
    assert page.runner_up is not None
    message = _document(page, "documents")
    assert isinstance(message.runner_up, RunnerUp)
    assert message.runner_up.corners[0].x == pytest.approx(4 * 20, abs=8)
    assert message.corners[0].x == pytest.approx(4 * 60, abs=8)
