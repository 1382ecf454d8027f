"""Standard streams that were closed when the program began, as by ``>&-`` or a careless parent.

The first file or socket to be opened would otherwise become standard output or standard error, and
get what libraries write there.
"""

from __future__ import annotations

import os
import sys

# glibc does the same for programs with special rights (``csu/check_fds.c``): a write to standard
# output fails, so that none takes for written what cannot be read.
_MODES = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))


def open_closed() -> None:
    """Put something where a standard stream should be; call it before any file is opened."""
    for number, mode in _MODES:
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.set_inheritable(os.open(os.devnull, mode), True)
    # They stay open for as long as the program runs.
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
