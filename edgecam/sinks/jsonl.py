"""JSON lines: one line per frame, or per event, into a file or standard output.

Each line is one write. A disk that fills up leaves whole lines behind: the half-written one is
cut off again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Mapping

from edgecam.core.errors import SinkError
from edgecam.core.places import expanded
from edgecam.core.result import Result
from edgecam.messages.event import event_line
from edgecam.messages.result import result_line
from edgecam.settings.schema import Settings

STDOUT = "-"


class LineFile:
    """A file that is emptied at start, or standard output; every line is in it whole."""

    def __init__(self, path: str, flag: str) -> None:
        """
        Raises:
            SinkError: the file cannot be opened for writing; ``flag`` is how it was asked for.
            SettingsError: it is below a home directory that there is not.
        """
        self._flag = flag
        self._shown = "standard output" if path == STDOUT else path
        self.lines = 0
        try:
            if path == STDOUT:
                sys.stdout.flush()
                self._fd = os.dup(sys.stdout.fileno())
                # That is how ``streams`` leaves one that was closed.
                if fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                    raise OSError(errno.EBADF, "it is closed")
            else:
                self._fd = os.open(
                    expanded(path, flag),
                    os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
                    0o666,
                )
        except OSError as error:
            raise self._refusal("a file that can be written", error) from None
        self._is_file = path != STDOUT and stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._size_bytes = 0

    def _refusal(self, expected: str, error: OSError) -> SinkError:
        what = error.strerror or str(error)
        if isinstance(error, BrokenPipeError):
            return SinkError(
                f"{self._flag}: {self._shown}: expected a reader to the end, but it has gone; "
                "let it read on, or limit the run with --max-frames"
            )
        return SinkError(
            f"{self._flag}: {self._shown}: expected {expected}, found: {what}; "
            "give another path or make room"
        )

    def write(self, line: bytes) -> None:
        """
        Raises:
            SinkError: the line could not be written whole; the lines before it are intact.
        """
        try:
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            # A full disk takes part of a line; what follows would be unreadable.
            if self._is_file:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size_bytes)
            raise self._refusal(f"room for line {self.lines + 1}", error) from None
        self._size_bytes += len(line) + 1
        self.lines += 1

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class JsonLinesSink:
    """Writes results to ``path``; ``-`` is standard output."""

    def __init__(self, path: str, name: str, boot_id: str) -> None:
        """
        Raises:
            SinkError: the file cannot be opened for writing.
        """
        self._file, self._name, self._boot_id = LineFile(path, "--jsonl"), name, boot_id

    def publish(self, result: Result) -> None:
        """
        Raises:
            SinkError: the line could not be written whole; the lines before it are intact.
        """
        if not result.held:
            self._file.write(result_line(result, self._name, self._boot_id, time.monotonic()))

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {"jsonl_lines": self._file.lines}

    def restart(self, boot_id: str) -> None:
        """Take the boot id of a new session."""
        self._boot_id = boot_id

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class EventLinesSink:
    """Writes events to ``path``; ``-`` is standard output."""

    def __init__(self, path: str, name: str, boot_id: str) -> None:
        """
        Raises:
            SinkError: the file cannot be opened for writing.
        """
        self._file, self._name, self._boot_id = LineFile(path, "--events"), name, boot_id

    def publish(self, result: Result) -> None:
        """
        Raises:
            SinkError: a line could not be written whole; the lines before it are intact.
        """
        for event in result.insight.events if result.insight is not None else ():
            line = event_line(event, result.frame, self._name, self._boot_id, self._file.lines)
            self._file.write(line)

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {"event_lines": self._file.lines}

    def restart(self, boot_id: str) -> None:
        """Take the boot id of a new session."""
        self._boot_id = boot_id

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_result_lines(settings: Settings, boot_id: str) -> JsonLinesSink:
    """Open the file of ``output.jsonl``; raises SinkError."""
    assert settings.output.jsonl is not None
    return JsonLinesSink(settings.output.jsonl, settings.name, boot_id)


def open_event_lines(settings: Settings, boot_id: str) -> EventLinesSink:
    """Open the file of ``output.events_jsonl``; raises SinkError."""
    assert settings.output.events_jsonl is not None
    return EventLinesSink(settings.output.events_jsonl, settings.name, boot_id)
