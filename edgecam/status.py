"""The health of a running instance: it answers on a local socket, ``edgecam status`` asks.

A socket rather than a file: nothing is written while it runs, and what does not run does not
answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgecam.wire import Telemetry

SUFFIX = ".status"
ASK_TIMEOUT_S = 2.0
# struct ucred: pid, uid, gid.
_PEER = struct.Struct("3i")
# Where services keep theirs; each has a directory of its own below it.
SYSTEM_DIRECTORY = Path("/run/edgecam")

log = logging.getLogger(__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How an instance is; ``faults`` is empty while all is well."""

    name: str
    pid: int
    faults: Annotated[tuple[str, ...], Meta(description="for a person, worst first")]
    telemetry: Annotated[Telemetry | None, Meta(description="the last report")] = None


def directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this process may put its socket: systemd's runtime directory, or the user's own."""
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        return Path(runtime.split(":")[0])
    if own := environment.get("XDG_RUNTIME_DIR"):
        return Path(own) / "edgecam"
    # Not tempfile: its imports take a megabyte and some milliseconds of every start.
    temporary = Path(environment.get("TMPDIR", ""))
    usable = temporary.is_absolute() and temporary.is_dir()
    return (temporary if usable else Path("/tmp")) / f"edgecam-{os.getuid()}"


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """``path`` by way of an open directory: a socket's path may have 107 bytes only."""
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


def ask(path: Path) -> Status | None:
    """What the instance behind a socket says; None if there is none any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ASK_TIMEOUT_S)
        try:
            with _short(path) as name:
                client.connect(name)
        except OSError:
            return None
        data = b""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            while part := client.recv(65536):
                data += part
            return msgspec.json.decode(data, type=Status)
        pid = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        return Status(name=path.name.removesuffix(SUFFIX), pid=pid, faults=("does not answer",))


def running(environment: Mapping[str, str] = os.environ) -> list[Status]:
    """Every instance of this user and of the system that answers, by name."""
    places = sorted({directory(environment), SYSTEM_DIRECTORY})
    found = {path: ask(path) for place in places for path in place.glob(f"**/*{SUFFIX}")}
    return sorted((s for s in found.values() if s is not None), key=lambda s: s.name)


class StatusServer(threading.Thread):
    """Answers everyone who connects with what ``status`` returns."""

    def __init__(self, name: str, place: Path, status: Callable[[], Status]) -> None:
        """
        Raises:
            OSError: the socket cannot be made.
        """
        super().__init__(name="status", daemon=True)
        self._status = status
        self._path = place / f"{name}{SUFFIX}"
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._path.is_socket():
            if ask(self._path) is not None:
                raise FileExistsError(f"another edgecam named {name!r} is running")
            self._path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(self._path) as short:
            self._socket.bind(short)
        # A service runs as a user of its own; whoever looks after it is another.
        self._path.chmod(0o666)
        self._socket.listen(4)

    def run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(ASK_TIMEOUT_S)
                client.sendall(msgspec.json.encode(self._status()))

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def serve(name: str, status: Callable[[], Status]) -> StatusServer | None:
    """Begin to answer; a warning and None where that is not possible."""
    try:
        server = StatusServer(name, directory(), status)
    except OSError as error:
        log.warning("edgecam status will not see this instance: %s", error)
        return None
    server.start()
    return server
