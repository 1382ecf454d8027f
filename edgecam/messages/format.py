"""What every message has: the number of the format, and a score.

Coordinates are source-frame pixels. In a result an absent key means that there is nothing to
say; in telemetry an unknown value is ``null``, never 0. ``SCHEMA`` grows when a key changes its
meaning or goes away.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

SCHEMA: Final = 1
SchemaNumber = Annotated[Literal[1], Meta(description="version of this format")]
Score = Annotated[float, Meta(ge=0.0, le=1.0, description="0..1")]
