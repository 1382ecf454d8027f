"""When a child process ends by itself: with its parent, or when its time is up.

The kernel sees to both, for a child may be stuck in native code, and a parent may be killed.
"""

from __future__ import annotations

import ctypes
import os
import signal

# Source: prctl(2); <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


def end_with(parent: int, after_s: float) -> None:
    """Kill this process when the thread of ``parent`` that started it is gone, or after a time."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before the kernel knew.
        os._exit(1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, after_s)
