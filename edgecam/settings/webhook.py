"""The settings of webhooks: where events go by HTTP, and in which words."""

from __future__ import annotations

import json
from string import Template
from typing import Annotated, Final, Literal

from msgspec import Meta

from edgecam.core.events import EventType
from edgecam.settings.section import Seconds, Section, Slug

# What a body may name, and an example of each.
FIELDS = {
    "event_type": "fall",
    "label": "person",
    "zone": "door",
    "track": 7,
    "score": 0.87,
    "dwell_s": 12.5,
    "name": "front",
    "title": "Front door",
    "time": "2026-01-31T23:59:59+00:00",
    "id": "5f2c01ab-17",
}
JSON: Final = "application/json"


class WebhookSettings(Section, frozen=True):
    """One address that events are posted to; ``[[webhook]]`` in TOML."""

    name: Annotated[Slug, Meta(description="what the log calls it")]
    url_file: Annotated[
        str | None,
        Meta(
            description="file of mode 600 with its URL, which is a secret; default the line "
            "NAME URL of systemd's credential webhooks"
        ),
    ] = None
    events: Annotated[
        tuple[EventType, ...], Meta(description="which events are sent; empty is every one")
    ] = ()
    body: Annotated[
        Annotated[str, Meta(min_length=1, max_length=8192)] | None,
        Meta(
            description="what is sent, with $event_type, $label, $zone, $track, $score, $dwell_s, "
            "$name, $title, $time and $id filled in; default the event's message",
        ),
    ] = None
    content_type: Annotated[
        Literal["application/json", "application/x-www-form-urlencoded", "text/plain"],
        Meta(description="of the body, which also says how what is filled in is escaped"),
    ] = JSON
    retries: Annotated[
        int, Meta(ge=0, le=20, description="after a failure, each later than the one before")
    ] = 5
    timeout_s: Annotated[Seconds, Meta(description="for one answer")] = 10.0
    max_waiting: Annotated[
        int, Meta(ge=1, le=10_000, description="events that wait, at most; then the oldest goes")
    ] = 100

    def __post_init__(self) -> None:
        if self.body is None:
            return
        template = Template(self.body)
        if not template.is_valid():
            raise ValueError(
                "Expected a body whose $ stand before a name ($$ is a $), found another"
            )
        unknown = sorted(set(template.get_identifiers()) - FIELDS.keys())
        if unknown:
            known = ", ".join(f"${name}" for name in FIELDS)
            raise ValueError(f"Expected {known} in a body, found ${unknown[0]}")
        if self.content_type == JSON:
            try:
                json.loads(template.substitute(FIELDS))
            except ValueError as error:
                raise ValueError(f"Expected a body of JSON once filled in, found {error}") from None
