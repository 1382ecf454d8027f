"""Paths of a service, which does not see or write everything."""

from __future__ import annotations

from pathlib import Path

from edgecam.core.places import closed_by_the_service, hidden_by_the_service

SERVICE = {"STATE_DIRECTORY": "/var/lib/edgecam/front", "INVOCATION_ID": "1"}


def test_hidden_path_names_the_unit_and_the_way_out() -> None:
    reason = hidden_by_the_service(Path("/home/pi/net.tflite"), SERVICE)
    assert reason is not None
    assert reason.startswith("the service's unit hides /home; ")
    assert reason.endswith("BindReadOnlyPaths=/home/pi/net.tflite")


def test_path_that_the_service_sees_is_not_hidden() -> None:
    assert hidden_by_the_service(Path("/opt/net.tflite"), SERVICE) is None


def test_outside_a_service_nothing_is_hidden_or_closed() -> None:
    assert hidden_by_the_service(Path("/home/pi/net.tflite"), {}) is None
    assert closed_by_the_service(Path("/srv/recordings"), {}) is None


def test_closed_path_names_where_the_service_may_write() -> None:
    reason = closed_by_the_service(Path("/srv/recordings"), SERVICE)
    assert reason is not None
    assert reason.startswith("the service may write to /var/lib/edgecam/front alone; ")
    assert reason.endswith("ReadWritePaths=/srv/recordings")
