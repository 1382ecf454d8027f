"""What the board says about itself; None where it has no such sensor, never 0."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.printable import printable

THERMAL_ZONES = Path("/sys/class/thermal")
# What vcgencmd speaks to the firmware through.
VCIO = Path("/dev/vcio")
PI_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
START_ID = Path("/proc/sys/kernel/random/boot_id")
# Bits 0 to 3 of get_throttled: under-voltage, frequency capped, throttled, soft temperature limit.
# Bits 16 to 19: the same has happened since the start.
THROTTLED_NOW = 0x0000F
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
# adjtimex: the kernel's clock is not disciplined by any time service.
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


# Where the firmware says what board it is: a device tree on ARM, DMI elsewhere.
DEVICE_TREE = Path("/proc/device-tree")
DMI = Path("/sys/devices/virtual/dmi/id")
# What firmware says where its maker filled nothing in.
_UNFILLED = frozenset({"", "none", "default string", "to be filled by o.e.m.", "not specified"})


@dataclass(frozen=True, slots=True)
class BoardIdentity:
    """Model, revision and serial number as the board's firmware has them."""

    model: str | None = None
    revision: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class BoardState:
    """Temperature in degrees Celsius, throttling now, resident bytes, and whether NTP holds."""

    temperature_c: float | None
    throttled: bool | None
    rss_bytes: int | None
    clock_synced: bool | None


def identity(tree: Path = DEVICE_TREE, dmi: Path = DMI) -> BoardIdentity:
    """What board this is, as ``Raspberry Pi 4 Model B``, ``Rev 1.4`` and its serial number."""
    model, serial = _firmware_text(tree / "model"), _firmware_text(tree / "serial-number")
    if model is None:
        return BoardIdentity(_firmware_text(dmi / "product_name"))
    name, rev, number = model.rpartition(" Rev ")
    return BoardIdentity(name if rev else model, f"Rev {number}" if rev else None, serial)


def _firmware_text(path: Path) -> str | None:
    try:
        text = path.read_bytes()[:128].decode("utf-8", "replace").rstrip("\0\n ")
    except OSError:
        return None
    shown = printable(text, 64)
    return None if shown.lower() in _UNFILLED else shown


def temperature_c(zones: Path = THERMAL_ZONES) -> float | None:
    """The hottest thermal zone."""
    found = []
    for path in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(path.read_text()) / 1000.0)
        except (OSError, ValueError):
            # A zone whose sensor is off answers with an error.
            continue
    return max(found, default=None)


def throttled() -> bool | None:
    """Whether a Raspberry Pi slows itself down now; None on other boards."""
    bits = throttle_bits()
    return None if bits is None else bool(bits & THROTTLED_NOW)


def throttle_bits() -> int | None:
    """A Raspberry Pi's ``get_throttled``; None on other boards."""
    try:
        return int(PI_THROTTLED.read_text(), 16)
    except (OSError, ValueError):
        return _vcgencmd_bits()


def _vcgencmd_bits() -> int | None:
    if not VCIO.exists():
        return None
    import subprocess

    try:
        answer = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=2, check=True
        )
        return int(answer.stdout.partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def rss_bytes() -> int | None:
    """Resident memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def clock_synced() -> bool | None:
    """Whether a time service keeps the wall clock, as the kernel's ``adjtimex`` says."""
    if hasattr(sys, "getandroidapilevel"):
        # Android ends an app that makes this call (SECCOMP_BLOCKLIST_APP.TXT).
        return None
    try:
        timex = (ctypes.c_byte * 512)()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    # struct timex: modes, then (aligned) offset, freq, maxerror, esterror as longs, then status.
    long_bytes = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(timex, 5 * long_bytes).value
    return state != _TIME_ERROR and not status & _STA_UNSYNC


def uptime_s() -> float:
    """Seconds since the system started, sleep included; no clock that is set changes it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def start_id() -> str:
    """What tells one start of the system from another; empty where it does not say."""
    try:
        return START_ID.read_text().strip()
    except OSError:
        return ""


def read(zones: Path = THERMAL_ZONES) -> BoardState:
    """Return the board's state now."""
    return BoardState(temperature_c(zones), throttled(), rss_bytes(), clock_synced())
