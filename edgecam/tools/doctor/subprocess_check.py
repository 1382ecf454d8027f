"""Makes a check in a process of its own: what is broken here may crash or hang its process."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator

import msgspec

from edgecam.core.child_lifetime import end_with
from edgecam.core.errors import EdgecamError
from edgecam.core.printable import print_traceback
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Check, Finding, fail

TIMEOUT_S = 60.0
# The child's own limit ends it where its parent cannot any more.
GRACE_S = 5.0


def _findings(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except EdgecamError as error:
        text, _, remedy = str(error).rpartition("; ")
        if text:
            yield fail(name, text, remedy)
        else:
            yield fail(name, remedy, "fix what this line names, then run it again")


def _child(
    name: str, check: Check, settings: Settings, write: int, parent: int, timeout_s: float
) -> None:
    """The child's whole life."""
    os.setpgid(0, 0)
    end_with(parent, timeout_s + GRACE_S)
    code = 1
    try:
        for finding in _findings(name, check, settings):
            os.write(write, msgspec.json.encode(finding) + b"\n")
        code = 0
    except BaseException:  # noqa: BLE001 - shown, and reported to the parent
        print_traceback(*sys.exc_info())
    finally:
        sys.stderr.flush()
        # Not a whole exit: a thread may be stuck in what is broken.
        os._exit(code)


def _lines(read: int, until_s: float) -> Iterator[bytes]:
    """What the child writes, line by line; TimeoutError where it does not end."""
    rest = b""
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, until_s - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(read, 65_536)
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        yield from lines


def _end(child: int) -> None:
    """Of the child, and of whatever it has started."""
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def apart(
    name: str, check: Check, remedy: str, settings: Settings, timeout_s: float
) -> Iterator[Finding]:
    """The findings of ``check``; one that crashes or hangs is itself a finding with ``remedy``."""
    read, write = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(read)
        _child(name, check, settings, write, parent, timeout_s)
    os.setpgid(child, child)
    os.close(write)
    try:
        for line in _lines(read, time.monotonic() + timeout_s):
            yield msgspec.json.decode(line, type=Finding)
    except TimeoutError:
        _end(child)
        yield fail(name, f"the check does not end within {timeout_s:g} s", remedy)
        return
    except BaseException:
        _end(child)
        raise
    finally:
        os.close(read)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        yield fail(name, f"kills Python: {signal.Signals(-code).name}", remedy)
    elif code:
        yield fail(name, "the check ends with the error above", remedy)
