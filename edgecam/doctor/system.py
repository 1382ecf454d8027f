"""The board itself: what it is, how it is powered, its clock and its disk."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from edgecam import board as sensors
from edgecam import recordings
from edgecam.doctor.finding import Finding, fail, ok, warn
from edgecam.settings import Settings

BOARD_MODEL = Path("/proc/device-tree/model")
# What edgecam is built and tested for.
PYTHONS = ((3, 11), (3, 13))
# A Raspberry Pi begins to slow down at 80 degrees.
HOT_C = 75.0
LOW_DISK_MB, FULL_DISK_MB = 500, 50


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
    state = sensors.read()
    heat = "no sensor" if state.temperature_c is None else f"{state.temperature_c:.0f} °C"
    slowed = {None: "not told by this board", True: "yes", False: "no"}[state.throttled]
    text = f"temperature {heat}, slowed down: {slowed}"
    if state.throttled:
        yield fail("power", text, "use the board's own power supply and cool it")
    elif state.temperature_c is not None and state.temperature_c >= HOT_C:
        yield warn("power", text, "add a heat sink or a fan, or run fewer threads")
    else:
        yield ok("power", text)


def clock(settings: Settings) -> Iterator[Finding]:
    """Whether a time service keeps the clock: payloads carry wall time."""
    del settings
    synced = sensors.clock_synced()
    if synced:
        yield ok("clock", "kept by a time service")
    elif synced is None:
        yield ok("clock", "the kernel does not say whether it is kept")
    else:
        remedy = "timedatectl set-ntp true, and let the network reach a time server"
        yield warn("clock", "kept by no time service: times in messages may be wrong", remedy)


def disk(settings: Settings) -> Iterator[Finding]:
    """Room where edgecam writes: JSON lines, recordings; where neither is, the home directory."""
    written = settings.output.jsonl
    places = [Path(written).expanduser()] if written and written != "-" else []
    if settings.recorder.enabled:
        folder = recordings.place(settings.recorder, settings.name, os.environ)
        places.append(folder)
        if (reason := recordings.obstacle(folder)) is not None:
            remedy = "make it writable, or set recorder.directory to another folder"
            yield fail("recorder", f"recordings cannot be written: {reason}", remedy)
    for place in places or [Path.home()]:
        yield _room(place)


def _room(place: Path) -> Finding:
    while not place.is_dir() and place != place.parent:
        place = place.parent
    free_mb = shutil.disk_usage(place).free // 1_000_000
    text = f"{free_mb} MB free in {place}"
    if free_mb < FULL_DISK_MB:
        return fail("disk", text, f"make room in {place}")
    if free_mb < LOW_DISK_MB:
        return warn("disk", text, f"make room in {place}")
    return ok("disk", text)
