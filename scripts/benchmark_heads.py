"""Prints what a classifier's head costs, in every form that is written, for benchmarks.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = {"tensorflow": "tensorflow", "litert_quantizer": "quantize"}


def heads() -> None:
    """The table of ``edgecam train sizes``, or what is missing for it; benchmarks.csv has none."""
    missing = [extra for name, extra in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        print(f"heads: not measured; install -e '.[{','.join(missing)}]' first", flush=True)
        return
    command = [sys.executable, "-m", "edgecam", "train", "sizes"]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, cwd=ROOT, env=quiet)
