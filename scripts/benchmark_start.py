"""Measures how soon the first result is there, and the memory until then, for benchmarks.py."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgecam.core.opencv import cv2
from edgecam.inference import catalog as bundled

ROOT = Path(__file__).resolve().parents[1]
Add = Callable[..., None]
BARE_SCRIPT = """
import sys, cv2
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=int(sys.argv[2]))
interpreter.allocate_tensors()
interpreter.invoke()
"""

LAUNCHER = """
import os, sys, time
began_s = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (1, 2)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, usage = os.wait4(pid, 0)
if status:
    sys.exit(f"{sys.argv[1:]} failed")
print(time.perf_counter() - began_s, usage.ru_maxrss)
"""


def start_up(add: Add, rounds: int) -> None:
    """Until the first result is written, against a script that only loads and invokes.

    Of a video, for whose reading FFmpeg is loaded, and of a picture.
    """
    model = bundled.resolve("posenet-int8")
    bare = [sys.executable, "-c", BARE_SCRIPT, str(model), "2"]
    with tempfile.TemporaryDirectory() as folder:
        # Compiled beforehand, as what is installed is.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        picture = Path(folder) / "frame.png"
        cv2.imwrite(str(picture), cv2.VideoCapture(str(bundled.clip())).read()[1])
        for source, named in ((bundled.clip(), "a video"), (picture, "a picture")):
            whole = [sys.executable, "-m", "edgecam", "--model", str(model), "--threads", "2"]
            whole += ["--source", str(source), "--max-frames", "1", "--jsonl", os.devnull]
            for command in (whole, bare):
                _process(command, environment)  # The model is tried in a child once, remembered.
            pairs = [
                (_process(whole, environment), _process(bare, environment)) for _ in range(rounds)
            ]
            seconds = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
            memory = statistics.median(ours[1] / theirs[1] for ours, theirs in pairs)
            about = {"model": model.stem, "input": named, "threads": 2}
            add("first result", seconds, "of a bare script's time", **about)
            add("peak memory", memory, "of a bare script's", **about)


def _process(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Seconds and peak resident kB of a program."""
    # A child begins with its parent's peak on its account, so the parent must be a small one.
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, peak_kb = done.stdout.split()[-2:]
    return float(seconds), int(peak_kb)
