"""Faults that a person can mend, and where in the README more is written about them."""

from __future__ import annotations

from typing import ClassVar


class EdgecamError(Exception):
    """A fault that a person can mend: one line saying what was expected, found, and what to do.

    ``section`` is the page, as README.md links it, that says more. ``kind`` names the fault
    to a program, where that is known.
    """

    section: ClassVar[str] = "When something is wrong"

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind

    def line(self) -> str:
        """What a person is told: the message, and where more is written."""
        return f"{self} (see README: {self.section})"


class SettingsError(EdgecamError):
    """A setting is unknown, of the wrong type or out of range."""

    section = "Settings"


class ModelError(EdgecamError):
    """A model cannot be loaded, is of no known family, or fails to run."""

    section = "Models"


class DelegateError(EdgecamError):
    """A delegate cannot be loaded or the model cannot run on it; ``reason`` is its own word."""

    section = "Coral and other delegates"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class SourceError(EdgecamError):
    """A source cannot be opened, or is empty or unreadable."""

    section = "Sources"


class SinkError(EdgecamError):
    """A sink cannot be opened or written."""

    section = "Messages"


class PageError(SinkError):
    """The live page cannot be served as it was asked for."""

    section = "Live page"
