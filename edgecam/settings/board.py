"""The settings of the health of the board: how often it is reported, and what heat changes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgecam.settings.section import Celsius, Seconds, Section


class TelemetrySettings(Section, frozen=True):
    """How often edgecam reports on itself."""

    interval_s: Annotated[Seconds, Meta(description="between two reports")] = 10.0
    window_s: Annotated[Seconds, Meta(description="span of rates and percentiles")] = 10.0


class ThermalSettings(Section, frozen=True):
    """When a hot board gets fewer invokes a second; also whenever it slows itself down."""

    limit_c: Annotated[Celsius, Meta(description="from here on fewer invokes, in steps")] = 80.0
    hysteresis_c: Annotated[
        float, Meta(ge=0.0, le=50.0, description="this far below the limit more again")
    ] = 5.0
    step_s: Annotated[Seconds, Meta(description="between two steps")] = 30.0
    directory: Annotated[
        str, Meta(min_length=1, description="where the kernel shows its thermal zones")
    ] = "/sys/class/thermal"
