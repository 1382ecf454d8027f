"""``python -m edgecam.probe_child``: the process that ``probe`` risks on a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edgecam.model import open_interpreter
from edgecam.types import EdgecamError


def main(arguments: Sequence[str]) -> int:
    """Load and invoke in this process; one line on stdout and 1 where the model is refused."""
    path, threads, size, spec = arguments
    sides = tuple(int(side) for side in size.split("x")) if size != "-" else None
    try:
        interpreter = open_interpreter(
            Path(path), int(threads), (sides[0], sides[1]) if sides else None, spec
        )
        interpreter.invoke()
    except EdgecamError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
