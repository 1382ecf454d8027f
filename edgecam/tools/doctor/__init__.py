"""What works on this board, what does not, and what to do: one function per check.

A new check is one function and one line in ``CHECKS``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgecam.settings.schema import Settings
from edgecam.tools.doctor import cameras as vision
from edgecam.tools.doctor import disk, inference, network, system, units, usb
from edgecam.tools.doctor.finding import Check, Finding
from edgecam.tools.doctor.subprocess_check import TIMEOUT_S, apart

_RUNTIME = (
    "install the runtime again, or one that is built for this processor: "
    "pip install --force-reinstall ai-edge-litert numpy"
)
_OPENCV = "install it again: pip install --force-reinstall opencv-python numpy"
_KERNEL = "look into the kernel's log: dmesg"

# Name, check, and what helps where the check itself crashes or hangs.
CHECKS: tuple[tuple[str, Check, str], ...] = (
    ("board", system.board, _KERNEL),
    ("python", system.python, _KERNEL),
    ("runtime", inference.runtimes, _RUNTIME),
    ("model", inference.models, _RUNTIME),
    ("opencv", vision.opencv, _OPENCV),
    ("camera", vision.cameras, _OPENCV),
    ("source", vision.source, _OPENCV),
    ("delegate", inference.delegates, "set inference.delegate to auto, or fix the delegate"),
    ("usb", usb.usb, _KERNEL),
    ("edge tpu", usb.edgetpu, "install libedgetpu1-std from Coral's Debian repository again"),
    ("power", system.power, _KERNEL),
    ("broker", network.broker, "fix mqtt.url, or the network"),
    ("clock", system.clock, _KERNEL),
    ("unit", units.units, "look into the system's log: journalctl -b"),
    ("disk", disk.disk, "check the disk: dmesg tells of its faults"),
)

# Of each of several cameras; the others are of the board, or of what they share.
PER_CAMERA = ("source",)


def examine(
    settings: Settings, only: Collection[str] = (), timeout_s: float = TIMEOUT_S
) -> Iterator[Finding]:
    """Make every check in turn, or ``only`` some; a fault, a crash or a hang ends its own alone."""
    for name, check, remedy in CHECKS:
        if not only or name in only:
            yield from apart(name, check, remedy, settings, timeout_s)
