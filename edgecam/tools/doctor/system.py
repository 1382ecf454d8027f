"""The board itself: what it is, how it is powered, and its clock."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edgecam.core import board as sensors
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn

BOARD_MODEL = Path("/proc/device-tree/model")
# What edgecam is built and tested for.
PYTHONS = ((3, 11), (3, 14))
# A Raspberry Pi begins to slow down at 80 degrees.
HOT_C = 75.0
# Of get_throttled: what a bit says, and what helps; sixteen bits higher: since the start.
THROTTLING = (
    (0, "under-voltage", "use the board's own power supply and a short cable"),
    (1, "frequency capped", "cool the board, and use its own power supply"),
    (2, "throttled", "cool the board: a heat sink or a fan"),
    (3, "soft temperature limit", "cool the board: a heat sink or a fan"),
)
DAY_S = 86_400.0


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def board(settings: Settings) -> Iterator[Finding]:
    """Which board and which system."""
    del settings
    try:
        model = BOARD_MODEL.read_text("utf-8").strip("\0\n ")
    except OSError:
        model = platform.machine()
    yield ok("board", f"{model}, {os.cpu_count()} cores, {_system()}, kernel {platform.release()}")


def python(settings: Settings) -> Iterator[Finding]:
    """Which Python, and where its packages come from."""
    del settings
    version, (oldest, newest) = sys.version_info[:2], PYTHONS
    place = "virtual environment" if sys.prefix != sys.base_prefix else "system"
    text = f"{platform.python_version()} ({place} {sys.prefix})"
    if oldest <= version <= newest:
        yield ok("python", text)
    else:
        wanted = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        yield warn("python", text, f"use Python {wanted}, for which the runtimes have wheels")


def power(settings: Settings) -> Iterator[Finding]:
    """Temperature, and whether a Raspberry Pi slows itself down."""
    del settings
    temperature_c, bits = sensors.temperature_c(), sensors.throttle_bits()
    heat = "no sensor" if temperature_c is None else f"{temperature_c:.0f} °C"
    text = f"temperature {heat}"
    if temperature_c is not None and temperature_c >= HOT_C:
        yield warn("power", text, "add a heat sink or a fan, or run fewer threads")
    else:
        yield ok("power", text)
    if bits is None:
        yield ok("power", "this board does not tell of under-voltage and throttling")
        return
    now = [flag for flag in THROTTLING if bits >> flag[0] & 1]
    before = [flag for flag in THROTTLING if bits >> 16 >> flag[0] & 1]
    if now:
        names = ", ".join(name for _, name, _ in now)
        yield fail("power", f"the board slows itself down now: {names}", now[0][2])
    elif before:
        names = ", ".join(name for _, name, _ in before)
        yield warn("power", f"since its start the board had: {names}", before[0][2])
    else:
        yield ok("power", "no under-voltage and no throttling since the board's start")


def clock(settings: Settings) -> Iterator[Finding]:
    """Whether a time service keeps the clock: payloads carry wall time."""
    del settings
    synced = sensors.clock_synced()
    installed_s = os.stat(__file__).st_mtime
    if time.time() < installed_s - DAY_S:
        # A board without a battery begins where it was, or in 1970.
        text = f"says {time.strftime('%Y-%m-%d')}, but edgecam is here since "
        text += time.strftime("%Y-%m-%d", time.localtime(installed_s))
        yield fail("clock", text, "let the network reach a time server: timedatectl set-ntp true")
    elif synced:
        yield ok("clock", "kept by a time service")
    elif synced is None:
        yield ok("clock", "the kernel does not say whether it is kept")
    else:
        remedy = "timedatectl set-ntp true, and let the network reach a time server"
        yield warn("clock", "kept by no time service: times in messages may be wrong", remedy)
