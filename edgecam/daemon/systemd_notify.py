"""Word to the service manager: systemd's notification socket, or nothing where there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from edgecam.core.printable import MAX_LINE, printable


class Notifier:
    """Sends ``sd_notify(3)`` messages to ``NOTIFY_SOCKET``.

    ``watchdog_s`` is how often the manager wants to hear ``WATCHDOG=1``, None if it does not.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._socket: socket.socket | None = None
        address = environment.get("NOTIFY_SOCKET", "")
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A manager that does not read must not stop the cameras.
            self._socket.setblocking(False)
            # A leading @ stands for the NUL of Linux's abstract namespace.
            self._address = "\0" + address[1:] if address[0] == "@" else address
        self.watchdog_s = _watchdog_s(environment) if self._socket else None

    def send(self, *assignments: str) -> bool:
        """Send ``NAME=value`` lines as one message; False if systemd did not take it.

        A line break in a value would begin another assignment, such as ``MAINPID=``.
        """
        if self._socket is None:
            return False
        try:
            self._socket.sendto(
                "\n".join(printable(text, MAX_LINE) for text in assignments).encode(), self._address
            )
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket to systemd."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        period_s = int(environment["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None
    return period_s if period_s > 0 else None
