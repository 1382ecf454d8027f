"""Log lines on standard error: plain for a person, with a priority for journald."""

from __future__ import annotations

import logging
import os
import sys

from edgecam.core.printable import MAX_LINE, printable
from edgecam.core.redaction import redact

# syslog priorities, which systemd reads as a prefix of each line (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Formatter(logging.Formatter):
    def __init__(self, journald: bool) -> None:
        super().__init__()
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        text = printable(redact(record.getMessage()), MAX_LINE)
        if self._journald:
            return f"<{_PRIORITIES.get(record.levelno, 2)}>{text}"
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"edgecam: {level}{text}"


def _is_journal() -> bool:
    """Whether standard error is the journal, and not what a child of a unit made of it.

    Source: systemd.exec(5), ``$JOURNAL_STREAM``.
    """
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def fault_line(text: str) -> str:
    """The last line of a run that a fault ends."""
    text = printable(redact(text), MAX_LINE)
    if _is_journal():
        return f"<{_PRIORITIES[logging.ERROR]}>{text}"
    return f"edgecam: error: {text}"


def set_up(verbose: bool) -> None:
    """Send edgecam's records to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_is_journal()))
    logger = logging.getLogger("edgecam")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
