"""Runs inside the emulated machine until its power is cut: spools events and keeps recordings.

Each line on the console says what edgecam's own code has promised to be on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from edgecam.sinks.mqtt.spool_file import Row, SpoolFile
from edgecam.sinks.recorder.file import SUFFIX
from edgecam.sinks.recorder.folder import Folder

PLACE = Path("/var/lib/board")


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    console = os.open("/dev/ttyS0", os.O_WRONLY | os.O_NOCTTY)
    spool = SpoolFile(PLACE / "front.spool")
    spool.load()
    folder = Folder(PLACE / "recordings", 1000, 200_000_000)
    for number in range(100_000):
        payload = json.dumps({"boot_id": "cut", "sequence": number}).encode()
        spool.change([Row(payload, time.time(), None, "cut", None)], [])
        os.write(console, f"\nspooled {number}\n".encode())
        data = os.urandom(60_000)
        name = f"{hashlib.sha256(data).hexdigest()[:16]}{SUFFIX}"
        folder.add(name, data)
        os.write(console, f"\nrecorded {name}\n".encode())


if __name__ == "__main__":
    main()
