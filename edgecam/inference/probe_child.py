"""``python -m edgecam.inference.probe_child``: the process that ``probe`` risks on a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edgecam.core.child_lifetime import end_with


def main(arguments: Sequence[str]) -> int:
    """Load and invoke in this process; the delegate's report as JSON on stdout.

    Where the model is refused, one line on stdout and 1.
    """
    parent, limit_s, path, threads, size, spec = arguments
    # Before anything that takes its time.
    end_with(int(parent), float(limit_s))
    import msgspec

    from edgecam.core.errors import EdgecamError
    from edgecam.inference.opening import open_interpreter
    from edgecam.inference.probe import REPORT

    sides = tuple(int(side) for side in size.split("x")) if size != "-" else None
    try:
        interpreter = open_interpreter(
            Path(path), int(threads), (sides[0], sides[1]) if sides else None, spec
        )
        interpreter.invoke()
    except EdgecamError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(f"\n{REPORT}{msgspec.json.encode(interpreter.delegate).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
