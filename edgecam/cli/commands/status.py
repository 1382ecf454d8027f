"""``edgecam status``: how the instances that run here are."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say, say_json
from edgecam.daemon.status_socket import CameraStatus, Status, running
from edgecam.messages.telemetry import Telemetry

NOT_RUNNING = 3


def _line(name: str, faults: tuple[str, ...], report: Telemetry | None) -> str:
    health = f"degraded: {'; '.join(faults)}" if faults else "healthy"
    if report is None:
        return f"{name}: {health}"
    parts = [f"{report.fps.published or 0.0:.1f} fps"]
    if report.invoke_ms is not None:
        parts.append(f"invoke {report.invoke_ms.p50:.1f} ms")
    if report.temperature_c is not None:
        parts.append(f"{report.temperature_c:.0f} °C")
    parts.append(f"up {report.uptime_s:.0f} s")
    return f"{name}: {health}; {', '.join(parts)}"


def _cameras(status: Status) -> tuple[CameraStatus, ...]:
    return () if status.cameras is msgspec.UNSET else status.cameras


def _lines(status: Status) -> Iterator[str]:
    """One for an instance, and one for each of its cameras where it has several."""
    yield _line(status.name, status.faults, status.telemetry)
    for camera in _cameras(status):
        yield _line(f"{status.name}/{camera.name}", camera.faults, camera.telemetry)


def _of_camera(status: Status, name: str | None) -> Status | None:
    """The instance, or the one camera of it that is asked for; None where it has none such."""
    if name in (None, status.name):
        return status
    found = next((camera for camera in _cameras(status) if camera.name == name), None)
    if found is None:
        return None
    return Status(name=found.name, pid=status.pid, faults=found.faults, telemetry=found.telemetry)


@click.command("status")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@click.pass_context
def command(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Show the state of the running instance or camera NAME, or of every instance.

    Exits 0 if healthy, 1 if something is wrong, 3 if it is not running.
    """
    answers, refused = running()
    asked = (_of_camera(status, name) for status in answers)
    found = [status for status in asked if status is not None]
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
    for status in found if not as_json else ():
        for line in _lines(status):
            say(line)
    if refused is not None:
        raise EdgecamError(refused)
    if not found:
        say(f"{name or 'edgecam'}: not running", err=True)
        ctx.exit(NOT_RUNNING)
    ctx.exit(int(any(status.faults for status in found)))
