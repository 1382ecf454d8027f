"""Corners moved onto the picture's own edges: nearer to the truth, and never far away."""

from __future__ import annotations

from statistics import median

import cv2
import numpy as np
import pytest

from edgecam.inference.decoders.page_edges import sharpened
from edgecam.tools.train.documents.scene import render

PAGE = np.array(((120.3, 90.7), (510.6, 110.2), (540.9, 400.1), (95.4, 380.8)))


def drawn(corners: np.ndarray, paper: int = 220, table: int = 70) -> np.ndarray:
    """A page of 640x480 on a table; its edges lie between pixels."""
    large = np.full((1920, 2560, 3), table, np.uint8)
    points = np.round(((corners + 0.5) * 4 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(large, [points], (paper,) * 3, cv2.LINE_AA, shift=4)
    return cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA)


def moved(seed: int, far_px: float) -> np.ndarray:
    return PAGE + np.random.default_rng(seed).uniform(-far_px, far_px, (4, 2))


@pytest.mark.parametrize("seed", range(6))
def test_a_rough_outline_snaps_to_the_page(seed: int) -> None:
    found = sharpened(drawn(PAGE), moved(seed, 5.0))
    assert np.linalg.norm(found - PAGE, axis=1).max() < 0.5


def test_text_and_noise_do_not_draw_a_side_away() -> None:
    image = drawn(PAGE)
    for row in range(130, 370, 18):
        cv2.putText(image, "lorem ipsum dolor sit", (140, row), 0, 0.6, (20, 20, 20), 2)
    noise = np.random.default_rng(5).normal(0.0, 8.0, image.shape)
    noisy = (image + noise).clip(0, 255).astype(np.uint8)
    found = sharpened(noisy, moved(9, 4.0))
    assert np.linalg.norm(found - PAGE, axis=1).max() < 1.0


def test_what_covers_a_third_of_a_side_does_not_count() -> None:
    image = drawn(PAGE)
    cv2.rectangle(image, (250, 60), (370, 130), (110, 140, 195), -1)
    found = sharpened(image, moved(11, 4.0))
    assert np.linalg.norm(found - PAGE, axis=1).max() < 1.0


def test_without_an_edge_the_corners_stay() -> None:
    plain = np.full((480, 640, 3), 128, np.uint8)
    np.testing.assert_allclose(sharpened(plain, PAGE), PAGE, atol=1e-6)
    noise = np.random.default_rng(2).integers(0, 255, (480, 640, 3), np.uint8)
    # The reach is 2.2 % of the diagonal, 17 pixels; sides meet a little further out.
    assert np.linalg.norm(sharpened(noise, PAGE) - PAGE, axis=1).max() < 40.0


def test_a_page_too_small_to_look_at_stays() -> None:
    tiny = np.array(((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0)))
    np.testing.assert_array_equal(sharpened(drawn(PAGE), tiny), tiny)


def test_on_rendered_pages_it_brings_corners_nearer() -> None:
    before, after = [], []
    rng = np.random.default_rng(4)
    for seed in range(500, 525):
        scene = render(seed, 480, 360)
        assert scene.corners is not None
        rough = scene.corners + rng.normal(0.0, 2.0, (4, 2))
        found = sharpened(scene.image, rough)
        before.append(float(np.linalg.norm(rough - scene.corners, axis=1).mean()))
        after.append(float(np.linalg.norm(found - scene.corners, axis=1).mean()))
    assert median(after) < 0.5 * median(before)
