"""Pictures and points turned by quarters of a circle."""

from __future__ import annotations

import numpy as np
import pytest

from edgecam.core.turning import turn_image, turn_points, turned_size


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_point_turns_as_the_pixel_beneath_it(degrees: int) -> None:
    image = np.zeros((4, 7, 3), np.uint8)
    image[1, 5] = 255
    turned = turn_image(image, degrees)
    x, y = turn_points(np.array([5.0, 1.0]), degrees, (7, 4)).astype(int).tolist()
    assert turned.shape[1::-1] == turned_size((7, 4), degrees)
    assert turned[y, x].tolist() == [255, 255, 255]
    assert turned.sum() == 3 * 255


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_points_turned_back_are_where_they_were(degrees: int) -> None:
    xy = np.random.default_rng(1).uniform(-5, 30, (17, 2))
    there = turn_points(xy, degrees, (33, 21))
    back = turn_points(there, 360 - degrees, turned_size((33, 21), degrees))
    np.testing.assert_allclose(back, xy)
