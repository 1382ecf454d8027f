"""Log lines on standard error: plain for a person, with a priority for journald."""

from __future__ import annotations

import logging
import os
import sys

# syslog priorities, which systemd reads as a prefix of each line (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Formatter(logging.Formatter):
    def __init__(self, journald: bool) -> None:
        super().__init__()
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if self._journald:
            return f"<{_PRIORITIES.get(record.levelno, 2)}>{text}"
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"edgecam: {level}{text}"


def set_up(verbose: bool) -> None:
    """Send edgecam's records to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("JOURNAL_STREAM" in os.environ))
    logger = logging.getLogger("edgecam")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
