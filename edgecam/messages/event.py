"""An event: its fields, and its payload and line, which are one struct."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edgecam.core.events import Event, EventType
from edgecam.messages.format import SCHEMA, SchemaNumber, Score

if TYPE_CHECKING:
    from edgecam.core.frame import Frame

# An event that goes out this long after it was made says so.
LATE_S = 1.0
_encode = msgspec.json.Encoder().encode


class EventMessage(Struct, frozen=True, kw_only=True):
    """Something that happened: ``edgecam/<name>/event``, and a line of the events file.

    Every key is there, ``delayed_s`` only in an event that comes late; null says that there is
    nothing to say. Only the line of a recording lacks what differs from run to run, and has the
    recording's own times in its place.
    """

    schema: SchemaNumber = SCHEMA
    name: Annotated[str, Meta(description="name of the camera")]
    boot_id: Annotated[str, Meta(description="new at every start")] | UnsetType = UNSET
    sequence: Annotated[int, Meta(description="counts events; with boot_id it tells duplicates")]
    time_unix_s: Annotated[float, Meta(description="wall clock at capture")] | UnsetType = UNSET
    clock_synced: (
        Annotated[bool | None, Meta(description="wall clock set by the network")] | UnsetType
    ) = UNSET
    event_type: Annotated[EventType, Meta(description="what happened")]
    id: Annotated[
        str,
        Meta(description="of the occurrence: entered and exited, fall and recovered share it"),
    ]
    track: Annotated[int, Meta(description="id of the person or thing, as in results")]
    label: Annotated[str, Meta(description="what it is; a pose is a person")]
    zone: Annotated[str | None, Meta(description="name of the zone")]
    started_unix_s: Annotated[float, Meta(description="wall clock when it began")] | UnsetType = (
        UNSET
    )
    media_time_s: Annotated[float, Meta(description="position in a recording")] | UnsetType = UNSET
    started_media_time_s: (
        Annotated[float, Meta(description="position in a recording where it began")] | UnsetType
    ) = UNSET
    dwell_s: Annotated[float, Meta(description="how long it has lasted")]
    score: Annotated[Score, Meta(description="of the pose or box then, 0..1")]
    attributes: Annotated[
        Mapping[str, str | float],
        Meta(
            description="line_crossed: line, direction (left_to_right or right_to_left), by; "
            "wave: hand; sitting and lying: before; left: unseen (seconds); fall: confidence, "
            "drop, lying_seen, still_s, looks"
        ),
    ]
    delayed_s: (
        Annotated[
            float | None,
            Meta(description="how long a late one waited for the broker; null: not known"),
        ]
        | UnsetType
    ) = UNSET


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
