"""Loading packages of native code: what may interrupt it, and an address space that is too small.

An exception inside the initialisation of such a package, as from Ctrl-C, aborts the process or
looks like a package that is broken. A library that cannot be mapped may crash the process too.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecam.core.child_lifetime import end_with
from edgecam.core.errors import EdgecamError

TRIAL_S = 60.0
# What models, frames and the stacks of threads take beside the libraries that are loaded already.
ROOM_BYTES = 400_000_000


class AddressSpaceError(EdgecamError):
    """The process may not use as much address space as it needs."""


def address_space_bytes() -> int | None:
    """The limit of this process, None where there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def too_little(what: str) -> AddressSpaceError:
    """The error where ``what`` happens under a limit."""
    limit_mb = (address_space_bytes() or 0) // 1_000_000
    return AddressSpaceError(
        f"{what}, for this process may use {limit_mb} MB of address space (RLIMIT_AS: ulimit -v, "
        "LimitAS=); allow 1500 MB or lift that limit, and limit memory by MemoryMax= instead"
    )


def check_room() -> None:
    """Refuse a limit under which what comes once the libraries are loaded would crash.

    Raises:
        AddressSpaceError: there is such a limit.
    """
    limit = address_space_bytes()
    if limit is None:
        return
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    if limit - pages * resource.getpagesize() < ROOM_BYTES:
        raise too_little("models and frames have too little room")


@contextmanager
def loading(package: str) -> Iterator[None]:
    """Import ``package`` within: Ctrl-C comes afterwards.

    Raises:
        AddressSpaceError: it does not fit into the address space; it was not imported.
    """
    if address_space_bytes() is not None and not _fits(package):
        raise too_little(f"{package} cannot be loaded")
    with _uninterrupted():
        try:
            yield
        except (MemoryError, ImportError, OSError) as error:
            # Less room than the trial had: what is mapped where differs from run to run.
            if address_space_bytes() is None or not _is_no_room(error):
                raise
            raise too_little(f"{package} cannot be loaded") from None


def _is_no_room(error: Exception) -> bool:
    # The words of the dynamic loader.
    words = ("failed to map", "cannot allocate memory")
    return isinstance(error, MemoryError) or any(each in str(error).lower() for each in words)


def _fits(package: str) -> bool:
    """Try it in a child process, which has what this one has already."""
    parent, child = os.getpid(), os.fork()
    if child == 0:
        try:
            end_with(parent, TRIAL_S)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            importlib.import_module(package)
        except (MemoryError, ImportError, OSError) as error:
            # The import itself says any other reason.
            os._exit(1 if _is_no_room(error) else 0)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0


@contextmanager
def _uninterrupted() -> Iterator[None]:
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if came:
            raise KeyboardInterrupt
