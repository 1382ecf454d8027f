"""A whole emulated machine in QEMU: started, kept as it was, asked, cut off."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import board_vm_root
from board_machine import Said

BOOT_S = 900.0
ANSWER_S = 240.0
STATE = "ready"


class Lines:
    """JSON lines over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.1)
        self._waiting = b""

    def send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, None where none comes in time; half lines of before are skipped."""
        end_s = time.monotonic() + timeout_s
        while True:
            line, newline, rest = self._waiting.partition(b"\n")
            if newline:
                self._waiting = rest
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    return found
                continue
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self._socket], [], [], left_s)[0]:
                return None
            more = self._socket.recv(65536)
            if not more:
                raise AssertionError("the emulated machine is gone")
            self._waiting += more

    def close(self) -> None:
        self._socket.close()


class EmulatedMachine:
    """QEMU without KVM on the disk ``raw``; what is written goes to an overlay of its own."""

    def __init__(self, folder: Path, raw: Path) -> None:
        self.folder, self._raw = folder, raw
        self.overlay = folder / "overlay.qcow2"
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: Lines | None = None
        self._monitor: Lines | None = None
        self._asked = 0

    def boot(self, *, fresh: bool = True, parameters: str = "") -> None:
        """Start it and wait for the agent; ``fresh`` forgets what was written before."""
        kernel = board_vm_root.kernel()
        if fresh:
            self.overlay.unlink(missing_ok=True)
            backing = ("-b", str(self._raw), "-F", "raw")
            create = ["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.overlay)]
            subprocess.run(create, check=True)
        agent, monitor = self.folder / "agent", self.folder / "monitor"
        words = f"console=ttyS0 root=/dev/vda rw quiet mitigations=off {parameters}"
        log = self.folder / "console.log"
        self._process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
                *("-smp", "2", "-m", "1536", "-nodefaults", "-display", "none", "-no-reboot"),
                *("-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd.gz")),
                *("-append", words, "-serial", f"file:{log}"),
                *("-drive", f"file={self.overlay},if=virtio,cache=directsync"),
                *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
                *("-chardev", f"socket,path={agent},server=on,wait=off,id=agent"),
                *("-device", "virtserialport,chardev=agent,name=edgecam"),
                *("-qmp", f"unix:{monitor},server=on,wait=off"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "qemu.log").open("ab"),
        )
        self._monitor = Lines(monitor, 30)
        self._monitor.send({"execute": "qmp_capabilities"})
        self._agent = Lines(agent, 30)
        self._answer("true", BOOT_S)

    def _answer(self, command: str, timeout_s: float) -> Said | None:
        """Ask until one answers: what was sent before the agent listened is lost."""
        assert self._agent is not None
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            assert self._process is not None
            assert self._process.poll() is None, "QEMU ended"
            said = self._ask(command, 10.0)
            if said is not None:
                return said
        raise AssertionError(f"no answer within {timeout_s:g} s to {command!r}")

    def _ask(self, command: str, timeout_s: float) -> Said | None:
        assert self._agent is not None
        self._asked += 1
        self._agent.send({"id": self._asked, "run": command, "timeout_s": timeout_s})
        end_s = time.monotonic() + timeout_s + 5
        while (left_s := end_s - time.monotonic()) > 0:
            found = self._agent.receive(left_s)
            if found is not None and found["id"] == self._asked:
                return Said(found["code"], found["text"])
        return None

    def run(self, command: str, timeout_s: float = ANSWER_S) -> Said:
        """Run a line of shell inside, as root."""
        said = self._ask(command, timeout_s)
        assert said is not None, f"no answer within {timeout_s:g} s to {command!r}"
        return said

    def until(self, what: Callable[[], object], name: str, timeout_s: float = 240.0) -> None:
        """Wait for it; AssertionError with ``name`` where it does not come."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if what():
                return
            time.sleep(1)
        raise AssertionError(f"not within {timeout_s:g} s: {name}")

    def keep(self) -> None:
        """Keep memory and disk as they are now."""
        self._tell(f"savevm {STATE}")

    def restore(self) -> None:
        """Go back to what was kept."""
        self._tell(f"loadvm {STATE}")
        self._answer("true", 120)

    def _tell(self, line: str) -> None:
        assert self._monitor is not None
        command = {"command-line": line}
        self._monitor.send({"execute": "human-monitor-command", "arguments": command, "id": line})
        end_s = time.monotonic() + 300
        while (left_s := end_s - time.monotonic()) > 0:
            found = self._monitor.receive(left_s)
            if found is not None and found.get("id") == line:
                assert not found.get("return"), f"{line}: {found.get('return') or found}"
                return
        raise AssertionError(f"QEMU does not answer to {line}")

    def cut(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for lines in (self._agent, self._monitor):
            if lines is not None:
                lines.close()
        self._agent = self._monitor = None

    def flat(self, target: Path) -> Path:
        """The disk as it is, in one file for fsck and debugfs."""
        convert = ["qemu-img", "convert", "-U", "-O", "raw", str(self.overlay), str(target)]
        subprocess.run(convert, check=True)
        os.sync()
        return target
