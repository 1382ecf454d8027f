"""The health of a running instance: it answers on a local socket, ``edgecam status`` asks.

A socket rather than a file: nothing is written while it runs, and what does not run does not
answer. Its directory is often below ``/tmp``, where every user of the machine may put one first: it
is opened once, refused unless it is this user's alone, and used by its descriptor from then on.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgecam.messages.telemetry import Telemetry

SUFFIX = ".status"
# Of one answer, from connecting to its end.
ASK_TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 1_000_000
# What is looked at in one directory.
MAX_ASKED = 50
# struct ucred: pid, uid, gid.
_PEER = struct.Struct("3i")
# Where services keep theirs; each has a directory of its own below it.
SYSTEM_DIRECTORY = Path("/run/edgecam")

log = logging.getLogger(__name__)


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one of an instance's cameras is."""

    name: str
    faults: Annotated[tuple[str, ...], Meta(description="for a person, worst first")]
    telemetry: Annotated[Telemetry | None, Meta(description="the last report")] = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How an instance is; ``faults`` is empty while all is well.

    ``cameras`` is given where it has several: each has telemetry of its own then.
    """

    name: str
    pid: int
    faults: Annotated[tuple[str, ...], Meta(description="for a person, worst first")]
    telemetry: Annotated[Telemetry | None, Meta(description="the last report")] = None
    cameras: tuple[CameraStatus, ...] | msgspec.UnsetType = msgspec.UNSET


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


def open_directory(place: Path, *, make: bool = False) -> int:
    """A descriptor of the directory ``place``, which this user alone may write.

    Raises:
        OSError: it is absent and not to be made, a link, another user's, or writable by others.
    """
    if make:
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o755)
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise _refused(place, "a link" if place.is_symlink() else "no directory") from None
    found = os.fstat(fd)
    if found.st_uid != os.geteuid():
        what = f"one of user {found.st_uid}"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"one that others may write (mode {stat.S_IMODE(found.st_mode):o})"
    else:
        return fd
    os.close(fd)
    raise _refused(place, what)


def _refused(place: Path, what: str) -> OSError:
    return PermissionError(
        f"{place}: expected a directory of user {os.geteuid()} alone, found {what}; remove it, or "
        "set XDG_RUNTIME_DIR"
    )


def _in(fd: int, name: str) -> str:
    """A path to ``name`` in an open directory: a socket's path may have 107 bytes only."""
    return f"/proc/self/fd/{fd}/{name}"


@functools.cache
def _decoder() -> msgspec.json.Decoder[Status]:
    return msgspec.json.Decoder(Status)


def ask(fd: int, name: str) -> Status | None:
    """What the instance behind the socket ``name`` in an open directory says; None: it is gone."""
    until_s = time.monotonic() + ASK_TIMEOUT_S
    pid = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ASK_TIMEOUT_S)
        try:
            client.connect(_in(fd, name))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            pid = _PEER.unpack(credentials)[0]
            status = _decoder().decode(_answer(client, until_s))
        except (TimeoutError, BlockingIOError):
            # Connections that it does not take wait in a queue, which is full at last.
            fault = "does not answer"
        except OSError:
            if not pid:
                return None
            fault = "does not answer"
        except (ValueError, RecursionError):
            fault = "answers nothing that edgecam says"
        else:
            # Not the name that it gives itself: another user's process may give it any.
            return msgspec.structs.replace(status, name=name.removesuffix(SUFFIX))
    return Status(name=name.removesuffix(SUFFIX), pid=pid, faults=(fault,))


def _answer(client: socket.socket, until_s: float) -> bytes:
    """All that comes until the end.

    Raises:
        OSError: it has not ended at ``until_s``.
        ValueError: it is too long.
    """
    data = b""
    while len(data) <= MAX_ANSWER_BYTES:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        client.settimeout(left_s)
        part = client.recv(65536)
        if not part:
            return data
        data += part
    raise ValueError("too long")


def _sockets(fd: int, depth: int, kept: contextlib.ExitStack) -> Iterator[tuple[int, str]]:
    """Sockets in an open directory and ``depth`` levels below it; ``kept`` closes what is opened.

    Of each directory a bounded number: its user may fill it.
    """
    for entry in itertools.islice(os.scandir(fd), MAX_ASKED):
        with contextlib.suppress(OSError):
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISSOCK(mode) and entry.name.endswith(SUFFIX):
                yield fd, entry.name
            elif stat.S_ISDIR(mode) and depth:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(entry.name, flags, dir_fd=fd)
                kept.callback(os.close, below)
                yield from _sockets(below, depth - 1, kept)


def running(environment: Mapping[str, str] = os.environ) -> tuple[list[Status], str | None]:
    """Every instance of this user and of the system that answers, by name; all asked at once.

    The text says why those of this user are not asked: where they would be is another user's.
    """
    # Not at every start of the daemon.
    from concurrent.futures import ThreadPoolExecutor

    refused: str | None = None
    own = directory(environment)
    with contextlib.ExitStack() as kept:
        found: list[tuple[int, str]] = []
        # Services have directories of their own users below root's.
        with contextlib.suppress(OSError):
            fd = os.open(SYSTEM_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            kept.callback(os.close, fd)
            found += _sockets(fd, 1, kept)
        if not own.is_relative_to(SYSTEM_DIRECTORY):
            try:
                fd = open_directory(own)
                kept.callback(os.close, fd)
                found += _sockets(fd, 1, kept)
            except PermissionError as error:
                refused = str(error)
            except OSError as error:
                log.debug("%s: %s", own, error)
        # Made before the threads: two that make one at the same time crash msgspec.
        _decoder()
        with ThreadPoolExecutor(max(1, len(found))) as pool:
            answers = list(pool.map(lambda place: ask(*place), found))
    return sorted((s for s in answers if s is not None), key=lambda s: s.name), refused


class StatusServer(threading.Thread):
    """Answers everyone who connects with what ``status`` returns."""

    def __init__(self, name: str, place: Path, status: Callable[[], Status]) -> None:
        """
        Raises:
            OSError: the socket cannot be made, or its directory is not this user's alone.
        """
        super().__init__(name="status", daemon=True)
        self._status = status
        self._name = f"{name}{SUFFIX}"
        self._directory = open_directory(place, make=True)
        try:
            self._socket = self._bound(place)
        except BaseException:
            os.close(self._directory)
            raise
        self._socket.listen(4)

    def _bound(self, place: Path) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if not stat.S_ISSOCK(found.st_mode):
                raise FileExistsError(f"{place / self._name}: expected a socket; remove that file")
            if ask(self._directory, self._name) is not None:
                instance = self._name.removesuffix(SUFFIX)
                raise FileExistsError(f"another edgecam named {instance!r} is running")
            os.unlink(self._name, dir_fd=self._directory)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(_in(self._directory, self._name))
        # A service runs as a user of its own; people who look after it are others. Not by path and
        # not by umask, which other threads' files would have too.
        fd = os.open(self._name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._directory)
        try:
            os.chmod(f"/proc/self/fd/{fd}", 0o666)
        finally:
            os.close(fd)
        return made

    def run(self) -> None:
        """Answer each client until the socket is closed."""
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(ASK_TIMEOUT_S)
                client.sendall(msgspec.json.encode(self._status()))

    def close(self) -> None:
        """Remove the socket and end the thread."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._directory)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        os.close(self._directory)


def serve(name: str, status: Callable[[], Status]) -> StatusServer | None:
    """Begin to answer; a warning and None where that is not possible."""
    try:
        server = StatusServer(name, directory(), status)
    except OSError as error:
        log.warning("edgecam status will not see this instance: %s", error)
        return None
    server.start()
    return server
