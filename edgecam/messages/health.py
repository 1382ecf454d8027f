"""Whether a telemetry report tells of a healthy instance, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence

from edgecam.messages.telemetry import Telemetry


def faults(telemetry: Telemetry, stuck: Sequence[str] = ()) -> tuple[str, ...]:
    """What is wrong, worst first, each for a person to read; nothing if all is well."""
    found = [f"{stage} makes no progress" for stage in stuck]
    source, broker = telemetry.source, telemetry.mqtt
    if source.state in ("offline", "frozen"):
        found.append(f"source {source.state}: {source.reason}")
    if broker is not None and broker.state != "connected":
        found.append(f"broker disconnected: {broker.reason}")
    spool = None if broker is None else broker.spool
    if spool is not None and spool.state == "failing":
        found.append(f"spool failing: {spool.reason}")
    found += [f"model {m.reason}" for m in telemetry.models if m.state == "failed"]
    recorder = telemetry.recorder
    if recorder is not None and recorder.state != "ready":
        found.append(f"recorder {recorder.state}: {recorder.reason}")
    thermal = telemetry.thermal
    if thermal is not None and thermal.step:
        found.append(f"hot: {thermal.reason}, at most {thermal.max_hz} invokes a second")
    elif telemetry.throttled:
        found.append("the board slows itself down")
    return tuple(found)
