"""Events as payloads and lines: one struct, ``EventMessage``, that the schema describes."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.messages.schema import EventMessage

# An event that goes out this long after it was made says so.
LATE_S = 1.0
_encode = msgspec.json.Encoder().encode


def event_payload(
    event: Event, name: str, boot_id: str, sequence: int, clock_synced: bool | None
) -> bytes:
    """The payload of ``edgecam/<name>/event``.

    A subscriber removes duplicates by (``boot_id``, ``sequence``).
    """
    times = _wall_clock(event, boot_id)
    return _message(event, name, sequence, clock_synced=clock_synced, **times)


def event_line(event: Event, frame: Frame, name: str, boot_id: str, sequence: int) -> bytes:
    """One JSON line without its newline: the payload, less what differs from run to run.

    A recording's line carries ``media_time_s`` and ``started_media_time_s`` in place of
    ``boot_id`` and the wall-clock times, so that the same recording gives the same bytes.
    """
    if frame.media_time_s is None:
        return _message(event, name, sequence, **_wall_clock(event, boot_id))
    return _message(
        event,
        name,
        sequence,
        id=str(event.number),
        media_time_s=round(event.time_s, 3),
        started_media_time_s=round(event.started_s, 3),
    )


def delayed(payload: bytes, delayed_s: float) -> bytes:
    """The payload of an event that goes out so long after it was made; null if infinite.

    One that is on time stays as it is. ``delayed_s`` is the struct's last key and is appended:
    a payload may be on the disk since before an update, and keeps what it was written with.
    """
    if delayed_s < LATE_S:
        return payload
    value = b"%.1f" % delayed_s if math.isfinite(delayed_s) else b"null"
    return payload[:-1] + b',"delayed_s":%b}' % value


def _wall_clock(event: Event, boot_id: str) -> dict[str, Any]:
    return {
        "boot_id": boot_id,
        "id": f"{boot_id}-{event.number}",
        "time_unix_s": round(event.unix_s, 3),
        "started_unix_s": round(event.unix_s - (event.time_s - event.started_s), 3),
    }


def _message(event: Event, name: str, sequence: int, **times: Any) -> bytes:
    message = EventMessage(
        name=name,
        sequence=sequence,
        event_type=event.event_type,
        track=event.track,
        label=event.label,
        zone=event.zone,
        dwell_s=round(event.dwell_s, 3),
        score=round(event.score, 2),
        attributes=event.attributes,
        **times,
    )
    return _encode(message)
