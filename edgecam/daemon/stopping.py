"""How a run ends by a signal: in order, and where it cannot, within 5 s and with one line."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from edgecam.core.errors import EdgecamError

# What ends a stop that does not end by itself: events have been delivered or given up by then.
EXIT_S = 4.6
# If even that cannot run, since a native call keeps the interpreter, a thread without Python does.
KILL_S = 4.9
# A child without Python says then what this process cannot: it reads nothing if all goes well.
_LAST_WORDS = 'trap "" INT TERM; read -r _ && echo "$1" >&2'
_CUT_OFF = (
    "the stop was cut off after %g s, in %s; what was not yet sent or written there is lost "
    "(see: edgecam help %s)"
)

log = logging.getLogger(__name__)


class Stop(threading.Event):
    """Set by SIGTERM or SIGINT; the process is gone within 5 s of the first.

    While ``starting`` is set nothing is open yet, and a signal ends the process at once.
    """

    starting = False

    def handle(self, number: int, frame: object) -> None:
        """Take the signal: the run ends at its next step, or is cut off ``EXIT_S`` later."""
        del number, frame
        if self.starting:
            # No exception: inside the initialisation of native code it would abort the process.
            os._exit(0)
        if not self.is_set():
            self.set()
            leaver = threading.Timer(EXIT_S, _cut_off)
            leaver.daemon = True
            leaver.start()
            _end_without_python()


def _end_without_python() -> None:
    """End the process by a thread that needs no interpreter, with a line from a child."""
    read, write = os.pipe()
    place = "native code that keeps the interpreter to itself"
    words = _line(_CUT_OFF % (KILL_S, place, EdgecamError.page))
    try:
        command = ["sh", "-c", _LAST_WORDS, "sh", words]
        subprocess.Popen(command, stdin=read, stdout=subprocess.DEVNULL)
    except OSError as error:
        log.debug("no shell for a last word: %s", error)
    os.close(read)
    # What it writes, a traceback of each thread, wakes the child and is for no person.
    faulthandler.dump_traceback_later(KILL_S, exit=True, file=write)


def _line(text: str) -> str:
    """An error as the log would write it."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None)
    handlers = logging.getLogger("edgecam").handlers
    return handlers[0].format(record) if handlers else text


def _cut_off() -> NoReturn:
    """Say what does not end, and end the process."""
    place = "the interpreter"
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("edgecam."):
            place = f"{module}, {frame.f_code.co_qualname}"
            break
        frame = frame.f_back
    log.error(_CUT_OFF, EXIT_S, place, EdgecamError.page)
    os._exit(1)


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Within, SIGTERM and SIGINT go to ``stop``."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in kept:
        signal.signal(number, stop.handle)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
