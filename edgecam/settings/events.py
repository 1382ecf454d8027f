"""The section ``[events]``: the settings that each rule declares in its own file.

Written by ``scripts/make-reference`` from ``analysis/events``: declare a key there, not here. It
is a copy because settings are read by commands that load no rule, and without NumPy.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgecam.settings.section import Seconds, Section


class EventSettings(Section, frozen=True):
    """Which events there are, and how long it takes until they are believed."""

    presence: Annotated[bool, Meta(description="appeared, left")] = True
    hands_up: Annotated[bool, Meta(description="both wrists above the nose")] = True
    hands_up_s: Annotated[Seconds, Meta(description="hands up for so long")] = 0.5
    wave: Annotated[bool, Meta(description="a raised forearm that swings")] = True
    wave_window_s: Annotated[Seconds, Meta(description="the swings happen within")] = 2.0
    posture: Annotated[bool, Meta(description="sitting, crouching, lying")] = True
    posture_s: Annotated[Seconds, Meta(description="sitting, crouching or lying for so long")] = 1.0
    fall: Annotated[bool, Meta(description="fall, recovered")] = True
    fall_within_s: Annotated[
        Seconds, Meta(description="who takes longer to come down has not fallen")
    ] = 1.2
    fall_confirm_s: Annotated[Seconds, Meta(description="not up again for so long")] = 5.0
    recovered_s: Annotated[Seconds, Meta(description="up again for so long")] = 1.0
    classified: Annotated[
        bool, Meta(description="another label of a classifier for the picture")
    ] = True
    classified_s: Annotated[
        Seconds, Meta(description="a classifier's label is the surest for so long")
    ] = 1.0
