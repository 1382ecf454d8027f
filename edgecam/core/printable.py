"""Text from outside, made safe for a terminal and the journal, and the ways to print it.

Labels, host names, topics, reasons and answers come from models, brokers, cameras and other
processes. An escape sequence in them would act on the terminal, a line break forge a line of the
log.
"""

from __future__ import annotations

import json
import os
from types import TracebackType

from edgecam.core.redaction import redact

# A line of the log; a field of a table is cut sooner, by its own bound.
MAX_LINE = 4000


def printable(text: str, limit: int = 200) -> str:
    """``text`` with a question mark for whatever a terminal would act upon, cut to ``limit``.

    Those are controls (escape among them), bidirectional overrides and other invisible
    characters: all that Unicode calls "other" or a separator, but for the space.
    """
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def file_name(path: str | os.PathLike[str]) -> str:
    """A path as text of Unicode: a byte that is no UTF-8 becomes ``\\xfc``.

    Old cameras and memory sticks write names in other charsets, and JSON has no place for them.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def say(text: str, *, err: bool = False) -> None:
    """Print one line on standard output, or on standard error."""
    import click

    click.echo(printable(text, MAX_LINE), err=err)


def say_json(document: bytes | str) -> None:
    """Print a JSON document with an escape for every character that ``printable`` replaces."""
    text = document if isinstance(document, str) else document.decode()
    if not text.replace("\n", "").isprintable():
        # Outside its strings JSON has printable characters and line breaks alone.
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    import click

    click.echo(text)


def print_traceback(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    """A ``sys.excepthook``: what Python would print, without a camera's password in it."""
    import traceback

    for part in traceback.format_exception(kind, error, trace):
        for line in redact(part).splitlines():
            say(line, err=True)
