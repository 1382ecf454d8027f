"""``edgecam top``: every camera on a broker, in the terminal."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from edgecam.cli.options import CONFIG_OPTION, FLAG_NAMES, given
from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say, say_json
from edgecam.settings.schema import MqttSettings
from edgecam.tools.fleet.link import FleetLink
from edgecam.tools.fleet.state import Fleet

REFRESH_S = 0.5
# What a broker retains comes in one go behind the subscription.
QUIET_S, MAX_WAIT_S = 0.5, 5.0
NOTHING = 3


class TopError(EdgecamError):
    """There is nothing to watch, or nowhere to draw it."""

    page = "top"


def _once(fleet: Fleet, link: FleetLink, as_json: bool) -> int:
    """Print what the broker retains; the exit code."""
    from edgecam.tools.fleet.screen import plain_table, summary

    until_s = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < until_s and time.monotonic() < link.last_message_s + QUIET_S:
        time.sleep(0.05)
    if link.fault is not None:
        raise TopError(link.fault)
    rows = fleet.rows(time.monotonic())
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif rows:
        for line in plain_table(rows).splitlines():
            say(line)
    say(summary(rows), err=True)
    if not rows:
        return NOTHING
    return int(any(row.state not in ("ok", "paused") for row in rows))


def _watch(fleet: Fleet, link: FleetLink, title: str) -> None:
    """Draw until q is pressed."""
    from rich.console import Console
    from rich.live import Live

    from edgecam.tools.fleet.keyboard import key, single_keys
    from edgecam.tools.fleet.screen import View, page_size, screen

    console, view, next_s = Console(), View(), 0.0
    with single_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            now_s, size = time.monotonic(), console.size
            if now_s >= next_s:
                rows = fleet.rows(now_s)
                live.update(
                    screen(rows, view, link.fault, title, size.width, size.height), refresh=True
                )
                next_s = now_s + REFRESH_S
            pressed = key(max(0.0, next_s - time.monotonic()))
            if pressed == "q":
                return
            if pressed is not None:
                view.press(pressed, len(rows), page_size(size.height))
                next_s = 0.0


def _shown(settings: MqttSettings) -> str:
    from edgecam.core.printable import printable
    from edgecam.mqtt.address import parse_url

    return printable(f"edgecam top, {parse_url(settings.url or '')}")


@click.command("top")
@CONFIG_OPTION
@click.option("-b", "--broker", help="mqtt://HOST:1883 or mqtts://HOST:8883.")
@click.option("--username", help="User at the broker.")
@click.option("--password-file", help="File with the broker's password.")
@click.option("--once", is_flag=True, help="Print a table of what is known now, and end.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_context
def command(
    ctx: click.Context, /, config: Path | None, once: bool, as_json: bool, **_: Any
) -> None:
    """Watch every camera on a broker: state and why, rates, temperature, counts, last event.

    n, s, f, l, t, c and e sort by a column, again the other way round; arrows scroll; q or Ctrl-C
    ends. --once exits 0 if all are well, 1 if one is not, 3 if there is none.
    """
    from edgecam.cli import log
    from edgecam.settings.load import load_house

    configs = () if config is None else (config,)
    settings = load_house(configs, os.environ, given(ctx), FLAG_NAMES).shared.mqtt
    if settings.url is None:
        raise TopError("no broker given: use --broker mqtt://HOST or --config FILE")
    once = once or as_json
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise TopError("edgecam top draws on a terminal; for a pipe or a file use --once")
    # Also where the parent ignores Ctrl-C, as a shell does for what runs in its background.
    # SIGTERM ends it in the same way: the terminal is put back.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    log.set_up(verbose=False)
    fleet = Fleet()
    try:
        link = FleetLink(settings, fleet)
    except EdgecamError as error:
        raise TopError(str(error), error.kind) from None
    # What is said at every new login would be written over the screen.
    logging.getLogger("edgecam").setLevel(logging.ERROR)
    try:
        if once:
            ctx.exit(_once(fleet, link, as_json))
        _watch(fleet, link, _shown(settings))
    except KeyboardInterrupt:
        return
    finally:
        link.close()
