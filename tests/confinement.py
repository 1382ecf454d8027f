"""Confines the test run itself: pytest --confined.

No process may make memory executable that was writable (PR_SET_MDWE, as the unit's
MemoryDenyWriteExecute= has it), and every edgecam that a test starts gets a memory cgroup of its
own with 300 MB. What the machine does not allow is said in the header of the run.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 65, 1
LIMIT_BYTES = 300 << 20
ENTER = """#!/bin/sh
# Moves an edgecam into a memory cgroup of its own, then becomes Python.
if [ "$1 $2" = "-m edgecam" ]; then
    group="{prefix}$$"
    # Who may not make one is no root: the tests of missing rights, and of Termux.
    if mkdir "$group" 2>/dev/null; then
        echo {limit} > "$group/{file}" && echo $$ > "$group/cgroup.procs" || exit 70
    fi
fi
exec "{python}" "$@"
"""


def memory_cgroups() -> tuple[Path, str]:
    """Where memory cgroups are made, and which file holds their limit."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return Path("/sys/fs/cgroup"), "memory.max"
    return Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"


class Confinement:
    """What of it this machine allowed, in ``reported``."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self._groups: Path | None = None
        self._prefix = f"edgecam-suite-{os.getpid()}-"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            self.reported.append("not confined: this kernel has no PR_SET_MDWE (6.3 or later has)")
        else:
            self.reported.append("confined: PR_SET_MDWE for everything")
        self._enter_cgroups()

    def _enter_cgroups(self) -> None:
        parent, limit = memory_cgroups()
        probe = parent / f"{self._prefix}probe"
        try:
            probe.mkdir()
            (probe / limit).write_text(str(LIMIT_BYTES))
        except OSError as error:
            self.reported.append(f"not confined: no memory cgroup can be made ({error})")
            return
        finally:
            if probe.is_dir():
                probe.rmdir()
        self._groups = parent
        python = Path(tempfile.mkdtemp(prefix="edgecam-suite-")) / "python"
        script = ENTER.format(
            prefix=parent / self._prefix, limit=LIMIT_BYTES, file=limit, python=sys.executable
        )
        python.write_text(script)
        python.chmod(0o755)
        sys.executable = str(python)
        self.reported.append(f"confined: {LIMIT_BYTES >> 20} MB for each edgecam")

    def close(self) -> None:
        """Take away the cgroups that have no process left."""
        if self._groups is None:
            return
        for group in self._groups.glob(f"{self._prefix}*"):
            if not (group / "cgroup.procs").read_text():
                group.rmdir()
