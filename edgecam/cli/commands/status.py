"""``edgecam status``: how the instances that run here are."""

from __future__ import annotations

import click
import msgspec

from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say, say_json
from edgecam.daemon.status_socket import Status, running

NOT_RUNNING = 3


def _line(status: Status) -> str:
    health = f"degraded: {'; '.join(status.faults)}" if status.faults else "healthy"
    report = status.telemetry
    if report is None:
        return f"{status.name}: {health}"
    parts = [f"{report.fps.published or 0.0:.1f} fps"]
    if report.invoke_ms is not None:
        parts.append(f"invoke {report.invoke_ms.p50:.1f} ms")
    if report.temperature_c is not None:
        parts.append(f"{report.temperature_c:.0f} °C")
    parts.append(f"up {report.uptime_s:.0f} s")
    return f"{status.name}: {health}; {', '.join(parts)}"


@click.command("status")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@click.pass_context
def command(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Show the state of the running instance NAME, or of every one.

    Exits 0 if healthy, 1 if something is wrong, 3 if it is not running.
    """
    answers, refused = running()
    found = [status for status in answers if name in (None, status.name)]
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
    for status in found if not as_json else ():
        say(_line(status))
    if refused is not None:
        raise EdgecamError(refused)
    if not found:
        say(f"{name or 'edgecam'}: not running", err=True)
        ctx.exit(NOT_RUNNING)
    ctx.exit(int(any(status.faults for status in found)))
