"""What a session says at its start of settings that make it less sure."""

from __future__ import annotations

import pytest

from edgecam.daemon.build import load_models
from edgecam.daemon.session import seldom_looks_hz
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
