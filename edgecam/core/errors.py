"""Faults that a person can fix, and the page of the documentation that says more about each."""

from __future__ import annotations

from typing import ClassVar

# Files quote names in messages, and a name from outside may be a book; both ends are worth reading.
_HEAD, _TAIL = 1000, 500


class EdgecamError(Exception):
    """A fault that a person can fix: one line saying what was expected, found, and what to do.

    ``page`` is the page of docs/ that says more, which ``edgecam help PAGE`` shows. ``kind`` names
    the fault to a program, where that is known.
    """

    page: ClassVar[str] = "troubleshooting"

    def __init__(self, message: str, kind: str | None = None) -> None:
        if len(message) > _HEAD + _TAIL:
            message = f"{message[:_HEAD]} ... {message[-_TAIL:]}"
        super().__init__(message)
        self.kind = kind

    def line(self) -> str:
        """The message, and the page that says more."""
        return f"{self} (see: edgecam help {self.page})"


class SettingsError(EdgecamError):
    """A setting is unknown, of the wrong type or out of range."""

    page = "settings"


class ModelError(EdgecamError):
    """A model cannot be loaded, is of no known family, or fails to run."""

    page = "models"


class DelegateError(EdgecamError):
    """A delegate cannot be loaded or the model cannot run on it; ``reason`` is its own word."""

    page = "delegates"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class SourceError(EdgecamError):
    """A source cannot be opened, or is empty or unreadable."""

    page = "sources"


class SinkError(EdgecamError):
    """A sink cannot be opened or written."""

    page = "messages"


class PageError(SinkError):
    """The live page cannot be served as it was asked for."""

    page = "live-page"
