"""The settings of the flight recorder."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgecam.core.events import EventType
from edgecam.settings.section import Hertz, Pixels, Section

Span = Annotated[float, Meta(gt=0.0, le=120.0)]


class RecorderSettings(Section, frozen=True):
    """Results around each event, kept on disk to be looked into; off unless enabled."""

    enabled: Annotated[bool, Meta(description="keep the results around each event")] = False
    events: Annotated[
        tuple[EventType, ...], Meta(description="which events are kept; empty is every one")
    ] = ()
    before_s: Annotated[Span, Meta(description="kept of what went before, at least")] = 10.0
    after_s: Annotated[Span, Meta(description="kept of what follows")] = 5.0
    directory: Annotated[
        str | None,
        Meta(
            description="of this instance alone; default the service's state directory, else "
            "~/.local/state/edgecam/NAME/recordings",
        ),
    ] = None
    max_files: Annotated[
        int, Meta(ge=1, le=100_000, description="recordings kept; then the oldest goes")
    ] = 50
    max_bytes: Annotated[
        int, Meta(ge=10_000, description="bytes of all recordings; then the oldest goes")
    ] = 50_000_000
    pictures: Annotated[
        Literal["off", "image", "blurred", "skeleton"],
        Meta(description="pictures in recordings, as in snapshot.mode; none unless chosen"),
    ] = "off"
    video: Annotated[
        Literal["off", "pictures", "skeleton"],
        Meta(
            description="an MP4 beside each recording, of its pictures or of stick figures on black"
        ),
    ] = "off"
    picture_max_hz: Annotated[Hertz, Meta(description="pictures a second, at most")] = 2.0
    width_px: Annotated[Pixels, Meta(description="larger pictures are made this wide")] = 320
    quality: Annotated[int, Meta(ge=1, le=100, description="of the JPEG")] = 70
