"""What telemetry says of the flight recorder."""

from __future__ import annotations

from msgspec import Struct


class RecorderReport(Struct, frozen=True, kw_only=True):
    """The flight recorder: ready or failing and why, and what it keeps."""

    state: str
    reason: str | None = None
    files: int | None = None
    bytes: int | None = None
