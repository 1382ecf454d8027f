"""Polygons and lines against another's implementation."""

from __future__ import annotations

import re
import tomllib
from typing import get_args

import msgspec
import numpy as np
import pytest
from docs_pages.events_page import events_page
from skeletons import person

from edgecam.analysis.scene import Scene, Subject
from edgecam.analysis.tracker import boxes_of
from edgecam.analysis.zones import Polygon, anchors, is_inside, meet, side
from edgecam.core.events import EventType
from edgecam.core.opencv import cv2
from edgecam.settings.schema import Settings

SHAPES = {
    "triangle": ((0.1, 0.1), (0.9, 0.3), (0.4, 0.9)),
    "concave": ((0.1, 0.1), (0.9, 0.1), (0.5, 0.4), (0.9, 0.9), (0.1, 0.9)),
    "comb": ((0.1, 0.9), (0.1, 0.1), (0.3, 0.8), (0.5, 0.1), (0.7, 0.8), (0.9, 0.1), (0.9, 0.9)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_inside_is_what_opencv_says(name: str) -> None:
    corners = SHAPES[name]
    points = np.random.default_rng(1).uniform(0, 1, (2000, 2))
    # OpenCV's polygons are float32: points within its rounding of an edge belong to neither side.
    contour = np.array(corners, np.float32)
    distance = np.array([cv2.pointPolygonTest(contour, (x, y), True) for x, y in points.tolist()])
    clear = np.abs(distance) > 1e-5
    assert clear.sum() > 1900
    ours = Polygon(corners).contains(points)
    assert (ours[clear] == (distance[clear] > 0)).all()
    backwards = Polygon(corners[::-1]).contains(points)
    assert (backwards[clear] == ours[clear]).all()


def subject(**changes: object) -> Subject:
    pose = person(**changes)  # type: ignore[arg-type]
    return Subject(1, "person", 0.9, boxes_of([pose])[0], 0.0, pose)


def test_what_is_not_sure_is_neither_inside_nor_outside() -> None:
    hidden = subject(unsure=("left_hip", "right_hip", "left_ankle"))
    scene = Scene(0.0, 0.0, 640, 480, (), frozenset())
    everywhere = Polygon(((0, 0), (1, 0), (1, 1), (0, 1)))
    assert is_inside(everywhere, hidden, "hips", scene) is None
    assert is_inside(everywhere, hidden, "ankle", scene) is True
    ankles = anchors(hidden, "ankle")
    assert ankles is not None
    assert len(ankles) == 1


def test_right_of_a_line_is_right_of_who_walks_along_it_in_the_picture() -> None:
    up = ((0.0, 10.0), (0.0, 0.0))
    assert side(*up, (3.0, 5.0)) == pytest.approx(3.0)
    assert side(*up, (-4.0, 50.0)) == pytest.approx(-4.0)


def test_pieces_that_meet() -> None:
    door = ((0.0, 0.0), (10.0, 0.0))
    assert meet(door, ((5.0, -1.0), (6.0, 1.0)))
    assert not meet(door, ((5.0, -2.0), (6.0, -1.0)))
    assert not meet(door, ((15.0, -1.0), (16.0, 1.0)))


def test_the_example_of_the_page_is_a_configuration() -> None:
    example = events_page().partition("```toml\n")[2].partition("```")[0]
    settings = msgspec.convert(tomllib.loads(example), Settings)
    assert [len(part) for part in (settings.zone, settings.mask, settings.line)] == [1, 1, 1]


@pytest.mark.parametrize("event_type", get_args(EventType))
def test_every_event_type_is_documented_with_its_geometry_and_its_source(event_type: str) -> None:
    sections = re.split(r"^## ", events_page(), flags=re.MULTILINE)[1:]
    # Its section is the one whose first sentence begins with the names of its events.
    leads = [text.partition("\n\n")[2].split("\n\n")[0].split("\n")[0] for text in sections]
    (section,) = (
        text for text, lead in zip(sections, leads, strict=True) if f"`{event_type}`" in lead
    )
    assert "Geometry: " in section or "Geometry and source: [body](#body)" in section
    assert "Source:" in section or "source: [body](#body)" in section
