"""What a session says at its start of settings that make it less sure."""

from __future__ import annotations

import pytest

from edgecam.daemon.build import load_models
from edgecam.daemon.session import looks_straight_down, seldom_looks_hz
from edgecam.settings.load import load


@pytest.mark.parametrize(
    ("model", "fall", "expected"),
    [
        ("posenet", True, None),
        ("posenet:rate_hz=3", True, None),
        ("posenet:rate_hz=2", True, 2.0),
        ("posenet:rate_hz=2", False, None),
        ("ssdlite:rate_hz=1", True, None),
    ],
)
def test_looks_are_too_seldom_for_falls(model: str, fall: bool, expected: float | None) -> None:
    settings = load(None, {}, {"model.path": [model], "events.fall": fall})
    assert seldom_looks_hz(load_models(settings), settings) == expected


@pytest.mark.parametrize(
    ("pitch_degrees", "flags", "expected"),
    [
        (None, {}, False),
        (45.0, {}, False),
        (80.0, {}, True),
        (80.0, {"events.fall": False}, True),
        (80.0, {"events.fall": False, "events.posture": False}, False),
        (80.0, {"model.path": ["ssdlite"]}, False),
    ],
)
def test_a_camera_on_the_ceiling_cannot_tell_postures(
    pitch_degrees: float | None, flags: dict[str, object], expected: bool
) -> None:
    at = {"model.path": ["posenet"], "scene.pitch_degrees": pitch_degrees}
    settings = load(None, {}, {k: v for k, v in {**at, **flags}.items() if v is not None})
    assert looks_straight_down(load_models(settings), settings) is expected
