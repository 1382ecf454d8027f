"""What the C library keeps of memory that was given back, in a process of its own."""

import platform
import subprocess
import sys

import pytest

# Takes and gives back a picture, then takes something smaller; how many pieces the system mapped.
PROGRAM = """
import ctypes, sys
from edgecam.core.allocation import MAPPED_BYTES, keep_little

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.mallinfo.restype = [ctypes.c_void_p], Info
if sys.argv[1] == "lean":
    keep_little()
libc.free(libc.malloc(1_400_000))
before = libc.mallinfo().hblks
libc.malloc(MAPPED_BYTES * 3)
print(libc.mallinfo().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way to keep memory")
def test_what_a_picture_took_goes_back_whatever_was_freed_before() -> None:
    found = {
        how: subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        ).stdout.strip()
        for how in ("plain", "lean")
    }
    assert found == {"plain": "0", "lean": "1"}
