"""Rendered photographs of pages: the same for the same seed, and true to their corners."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core.quadrilateral import area, clockwise
from edgecam.tools.train.documents import texture
from edgecam.tools.train.documents.scene import render


def test_a_seed_is_a_picture() -> None:
    first, again, other = (render(seed, 160, 120) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.edges, again.edges)
    np.testing.assert_array_equal(first.corners, again.corners)
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize("seed", range(30, 50))
def test_the_mask_and_the_corners_are_one_page(seed: int) -> None:
    scene = render(seed, 192, 144)
    corners = scene.corners
    assert corners is not None
    assert scene.image.shape == (144, 192, 3)
    assert scene.edges.shape == (144, 192)
    assert (corners > -1).all()
    assert (corners < (192, 144)).all()
    np.testing.assert_array_equal(corners, clockwise(corners))
    contours, _ = cv2.findContours(
        (scene.edges > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    # The outline, half its width outside the page's own; a side may sag by some percent.
    drawn = sum(map(cv2.contourArea, contours))
    assert drawn == pytest.approx(area(corners), rel=0.25)


def test_a_table_without_a_page_has_no_edges() -> None:
    scene = render(3, 160, 120, empty=True)
    assert scene.corners is None
    assert not scene.edges.any()


@pytest.mark.parametrize("kind", texture.KINDS)
def test_every_texture_has_something_to_see(kind: str) -> None:
    field = texture.KINDS[kind](np.random.default_rng(1), 96)
    assert field.shape == (96, 96, 3)
    assert np.isfinite(field).all()
    assert field.std() > 0.5


def test_pages_are_written_with_their_corners(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    arguments = ["train", "pages", str(folder), "--count", "2", "--size", "96x128"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    truth = json.loads((folder / "corners.json").read_text())
    assert sorted(truth) == sorted(path.name for path in folder.glob("*.png"))
    picture = cv2.imread(str(folder / "page-2000000.png"))
    assert picture.shape == (96, 128, 3)
    expected = render(2_000_000, 128, 96).corners
    np.testing.assert_allclose(truth["page-2000000.png"], expected, atol=0.01)
