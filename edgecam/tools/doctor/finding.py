"""What a check says: ok, warn or fail, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from edgecam.core.redaction import redact
from edgecam.settings.schema import Settings

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; ``remedy`` is one thing to do, None where nothing is wrong."""

    check: str
    level: Level
    text: str
    remedy: str | None = None


# Yields its findings; an EdgecamError that it raises becomes a failure.
Check = Callable[[Settings], Iterable[Finding]]


def ok(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, "ok", redact(text))


def warn(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that works but deserves attention, with its remedy."""
    return Finding(check, "warn", redact(text), remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that does not work, with its remedy."""
    return Finding(check, "fail", redact(text), remedy)
