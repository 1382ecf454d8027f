"""Runs inside the emulated machine: opens a camera as edgecam does and prints what came of it.

``board_camera.py URL [--frames N] [--seconds S] [--set KEY=VALUE]`` prints a line of JSON:
``frames``, ``sizes``, ``states`` in the order in which they were, each with its reason, ``faults``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time

import msgspec

from edgecam.core.errors import EdgecamError
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="log: %(message)s")
    given = dict(word.split("=", 1) for word in asked.set)
    settings = msgspec.convert({"url": asked.url, **given}, SourceSettings, strict=False)
    try:
        source = open_source(settings)
    except EdgecamError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    count, sizes, last = 0, [], [0.0]

    def drain() -> None:
        nonlocal count
        for frame in source.frames():
            count += 1
            last[0] = float(frame.image.mean())
            size = f"{frame.width_px}x{frame.height_px}"
            if size not in sizes:
                sizes.append(size)

    threading.Thread(target=drain, daemon=True).start()
    states: list[list[str | None]] = []
    end_s = time.monotonic() + asked.seconds
    while time.monotonic() < end_s and count < asked.frames:
        status = source.status()
        now = [status.state, status.reason]
        if not states or states[-1] != now:
            states.append(now)
        time.sleep(0.05)
    said = {"frames": count, "sizes": sizes, "mean": last[0], "states": states}
    print(json.dumps({**said, "faults": dict(source.status().faults)}), flush=True)
    source.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
