"""Log lines about faults that repeat: few of them, and one when the fault is over."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

# With their recoveries at most 60 lines an hour for each fault.
INTERVAL_S = 120.0
NEW_LINE_INTERVAL_S = 5.0
MAX_NEW_LINES = 20


@dataclass(slots=True)
class _Fault:
    line: str = ""
    last_s: float = float("-inf")
    new_lines: int = 0
    hidden: int = 0
    is_open: bool = False


class FaultLog:
    """Logs a fault that repeats every two minutes, sooner if its words change, and its end."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._faults: dict[str, _Fault] = {}
        self._lock = threading.Lock()

    def fault(self, key: str, line: str) -> None:
        """Log ``line`` as a warning, or keep it back and count it."""
        now_s = time.monotonic()
        with self._lock:
            fault = self._faults.setdefault(key, _Fault())
            since_s = now_s - fault.last_s
            is_new = line != fault.line and since_s >= NEW_LINE_INTERVAL_S
            if since_s >= INTERVAL_S:
                fault.new_lines = 0
            elif is_new and fault.new_lines < MAX_NEW_LINES:
                fault.new_lines += 1
            else:
                fault.hidden += 1
                return
            hidden, fault.hidden = fault.hidden, 0
            fault.line, fault.last_s, fault.is_open = line, now_s, True
        self._log.warning("%s%s", line, f" ({hidden} more since the last line)" if hidden else "")

    def recovered(self, key: str, line: str) -> None:
        """Log ``line`` if the fault has had a line since it last recovered."""
        with self._lock:
            fault = self._faults.get(key)
            if fault is None or not fault.is_open:
                return
            fault.is_open = False
        self._log.info("%s", line)
