"""A Debian whose first process is systemd, in systemd-nspawn: started, asked, cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATH = "PATH=/opt/edgecam/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ANSWER_S = 120.0
# It takes two seconds on a machine that has nothing else to do.
BOOT_S = 240.0


@dataclass(frozen=True)
class Said:
    """Exit code and both streams of a command inside."""

    code: int
    text: str

    def ok(self) -> str:
        assert self.code == 0, f"exit {self.code}: {self.text.strip()[-400:]}"
        return self.text


class Machine:
    """One boot after another of the tree ``root``; every wait has an end."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self._log = root, log
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        top = Path("/sys/fs/cgroup")
        # Where both hierarchies are mounted systemd keeps the new one here.
        unified = top / "unified"
        self._group = (unified if unified.is_dir() else top) / f"edgecam-board-{os.getpid()}"

    def boot(self) -> None:
        """Start it, and wait until systemd has started what it starts."""
        self._group.mkdir(exist_ok=True)
        environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        flags = ("--boot", "--quiet", "--register=no", "--keep-unit", "--private-network")
        # A shell that enters the group first: systemd-nspawn gives its own group to the machine.
        enter = f'echo $$ > {self._group}/cgroup.procs 2>/dev/null; exec "$@"'
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, "sh", "systemd-nspawn", *flags, f"--directory={self.root}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._leader = 0
        self.until(self._find_leader, "systemd-nspawn starts the machine")
        ready = ("running", "degraded")
        self.until(
            lambda: self.run("systemctl is-system-running").text.strip() in ready,
            "systemd is up",
            BOOT_S,
        )

    def _find_leader(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text("utf-8", "replace")[-400:]
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._leader = int(child)
        return bool(self._leader)

    def run(self, command: str, **variables: str) -> Said:
        """Run a line of shell inside, as root."""
        named = [f"{name}={value}" for name, value in variables.items()]
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        enter = ("nsenter", f"--target={self._leader}", *spaces, "--", "/usr/bin/env", "-i", PATH)
        done = subprocess.run(
            [*enter, "LC_ALL=C.UTF-8", *named, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ANSWER_S,
            check=False,
        )
        return Said(done.returncode, done.stdout.decode("utf-8", "replace"))

    def until(self, what: Callable[[], object], name: str, timeout_s: float = 90.0) -> None:
        """Wait for it; AssertionError with ``name`` where it does not come."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if what():
                return
            time.sleep(0.2)
        raise AssertionError(f"not within {timeout_s:g} s: {name}")

    def cut(self) -> None:
        """End it as a power cut does: nothing inside gets a signal that it could act on."""
        if self._process is None:
            return
        if self._leader:
            os.kill(self._leader, signal.SIGKILL)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def reboot(self) -> None:
        """Shut down in order and start again."""
        assert self._process is not None
        self.run("systemctl poweroff")
        self._process.wait(90)
        self._process = None
        self.boot()

    def close(self) -> None:
        self.cut()
        # The last of its processes may still be going.
        for _ in range(50):
            try:
                for group in sorted(self._group.rglob("*/"), reverse=True):
                    group.rmdir()
                self._group.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.1)
