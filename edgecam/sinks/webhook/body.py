"""What a webhook sends of an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from string import Template
from urllib.parse import quote_plus

from edgecam.core.events import Event
from edgecam.settings.webhook import WebhookSettings

_ESCAPES: Mapping[str, Callable[[str], str]] = {
    "application/json": lambda text: json.dumps(text)[1:-1],
    "application/x-www-form-urlencoded": quote_plus,
    "text/plain": lambda text: text,
}


def body_of(
    settings: WebhookSettings, event: Event, payload: bytes, name: str, title: str, boot_id: str
) -> bytes:
    """The body: the ``payload``, or the settings' own words with the event's facts in them."""
    if settings.body is None:
        return payload
    escape = _ESCAPES[settings.content_type]
    facts: dict[str, object] = {
        "event_type": event.event_type,
        "label": event.label,
        "zone": event.zone or "",
        "track": event.track,
        "score": round(event.score, 2),
        "dwell_s": round(event.dwell_s, 1),
        "name": name,
        "title": title,
        "time": datetime.fromtimestamp(event.unix_s, UTC).isoformat(timespec="seconds"),
        "id": f"{boot_id}-{event.number}",
    }
    filled = {key: escape(str(value)) for key, value in facts.items()}
    return Template(settings.body).substitute(filled).encode()
