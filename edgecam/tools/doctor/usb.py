"""What hangs on USB: cameras that no driver took, and an Edge TPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, ok, warn

DEVICES = Path("/sys/bus/usb/devices")
NODES = Path("/dev/bus/usb")
EDGETPU_PCIE = Path("/dev/apex_0")
# Coral's USB accelerator before its firmware is loaded, and after.
EDGETPU = {"1a6e:089a": "not yet woken", "18d1:9302": "awake"}
VIDEO_CLASS = "0e"
# USB 2 moves 480 Mbit/s, of which an Edge TPU gets a tenth of what USB 3 gives it.
USB3_MBIT = 5000


@dataclass(frozen=True, slots=True)
class Device:
    """A device on USB; ``node`` is what a program opens, ``mbit`` its speed."""

    folder: Path
    ids: str
    name: str
    mbit: float
    node: Path

    @property
    def video_without_driver(self) -> bool:
        """Whether it is a camera that no driver has taken."""
        parts = list(self.folder.glob(f"{self.folder.name}:*/bInterfaceClass"))
        video = [part for part in parts if _read(part) == VIDEO_CLASS]
        return bool(video) and not any((part.parent / "driver").exists() for part in video)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float:
    text = _read(path)
    return float(text) if text.replace(".", "", 1).isdecimal() else 0.0


def devices() -> list[Device]:
    """Every device on USB but the hubs of the board itself."""
    found = []
    for folder in sorted(DEVICES.glob("*")):
        if not (folder / "idVendor").exists() or folder.name.startswith("usb"):
            continue
        ids = f"{_read(folder / 'idVendor')}:{_read(folder / 'idProduct')}"
        bus, number = (int(_number(folder / name)) for name in ("busnum", "devnum"))
        node = NODES / f"{bus:03}" / f"{number:03}"
        name = _read(folder / "product") or "unnamed"
        found.append(Device(folder, ids, name, _number(folder / "speed"), node))
    return found


def usb(settings: Settings) -> Iterator[Finding]:
    """What is plugged in, and cameras that no driver has taken."""
    del settings
    if not DEVICES.is_dir():
        yield ok("usb", "no USB on this machine")
        return
    found = devices()
    yield ok(
        "usb", "; ".join(f"{each.name} ({each.ids})" for each in found) or "nothing plugged in"
    )
    for each in found:
        if each.video_without_driver:
            text = f"{each.name} ({each.ids}) is a camera that no driver has taken"
            yield warn("usb", text, "sudo modprobe uvcvideo, then plug it in again")


def edgetpu(settings: Settings) -> Iterator[Finding]:
    """Whether an Edge TPU is attached, may be opened, is on a fast port, and its library loads."""
    del settings
    from edgecam.tools.doctor.inference import load_fault

    library, fault = load_fault("edgetpu")
    found = [each for each in devices() if each.ids in EDGETPU]
    place = f"on USB ({EDGETPU[found[0].ids]})" if found else f"on PCIe ({EDGETPU_PCIE})"
    if not found and not EDGETPU_PCIE.exists():
        yield ok("edge tpu", "none attached")
        return
    if fault is not None:
        text = f"attached {place}, but {library} does not load ({fault})"
        yield warn("edge tpu", text, "install libedgetpu1-std from Coral's Debian repository")
    else:
        yield ok("edge tpu", f"attached {place}, {library} loads")
    node = found[0].node if found else EDGETPU_PCIE
    if not os.access(node, os.R_OK | os.W_OK):
        remedy = f"sudo usermod -aG {'plugdev' if found else 'apex'} $USER, then log in again"
        yield warn("edge tpu", f"this user may not open {node}", remedy)
    if found and found[0].mbit < USB3_MBIT:
        text = f"it runs at {found[0].mbit:.0f} Mbit/s, as on a USB 2 port or cable"
        yield warn("edge tpu", text, "plug it into a USB 3 port (a blue one), with its own cable")
