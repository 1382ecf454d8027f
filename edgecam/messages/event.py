"""Events as payloads and lines; their keys are in ``wire``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from edgecam.core.events import Event
from edgecam.core.result import Frame
from edgecam.messages.schema import SCHEMA, EventMessage

# An event that goes out this long after it was made says so.
LATE_S = 1.0
_encode = msgspec.json.Encoder().encode


def event_payload(
    fields: Mapping[str, Any],
    name: str,
    boot_id: str,
    sequence: int,
    time_unix_s: float,
    clock_synced: bool | None,
) -> bytes:
    """The payload of ``edgecam/<name>/event``: ``fields`` behind what every event carries.

    A subscriber removes duplicates by (``boot_id``, ``sequence``).
    """
    head = {"schema": SCHEMA, "name": name, "boot_id": boot_id, "sequence": sequence}
    clock = {"time_unix_s": round(time_unix_s, 3), "clock_synced": clock_synced}
    return _encode({**head, **clock, **fields})


def delayed(payload: bytes, delayed_s: float) -> bytes:
    """The payload of an event that goes out so long after it was made; null if infinite.

    One that is on time stays as it is.
    """
    if delayed_s < LATE_S:
        return payload
    value = b"%.1f" % delayed_s if math.isfinite(delayed_s) else b"null"
    return payload[:-1] + b',"delayed_s":%b}' % value


def event_fields(event: Event, boot_id: str) -> dict[str, Any]:
    """The fields of an event that ``event_payload`` puts behind its own; wall-clock times."""
    return {
        "time_unix_s": round(event.unix_s, 3),
        "event_type": event.event_type,
        "id": f"{boot_id}-{event.number}",
        "track": event.track,
        "label": event.label,
        "zone": event.zone,
        "started_unix_s": round(event.unix_s - (event.time_s - event.started_s), 3),
        "dwell_s": round(event.dwell_s, 3),
        "score": round(event.score, 2),
        "attributes": event.attributes,
    }


def event_line(event: Event, frame: Frame, name: str, boot_id: str, sequence: int) -> bytes:
    """One JSON line without its newline: the payload, less what differs from run to run.

    A recording's line carries ``media_time_s`` and ``started_media_time_s`` in place of
    ``boot_id`` and the wall-clock times, so that the same recording gives the same bytes.
    """
    fields = event_fields(event, boot_id)
    if frame.media_time_s is not None:
        del fields["time_unix_s"], fields["started_unix_s"]
        fields["id"] = str(event.number)
        started_s = round(event.started_s, 3)
        times: dict[str, Any] = {
            "media_time_s": round(event.time_s, 3),
            "started_media_time_s": started_s,
        }
    else:
        times = {"boot_id": boot_id}
    return _encode(EventMessage(name=name, sequence=sequence, **times, **fields))
