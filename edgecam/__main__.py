"""Where the program begins: an installation that cannot be imported is reported in one line."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from edgecam.core.standard_streams import open_closed


def _refuse(error: ImportError) -> NoReturn:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = next(iter(str(cause).strip().splitlines()), "no reason given")
    package = "numpy" if "numpy" in f"{error} {error.name}" else "edgecam"
    sys.stderr.write(
        f"edgecam: error: a package that edgecam needs cannot be imported: {words}; run: pip "
        f"install --force-reinstall {package}; where a library (.so) is missing, apt install "
        "it (see: edgecam help troubleshooting)\n"
    )
    sys.exit(1)


def main() -> None:
    """Run the command line; exits 0, 1 for a fault, 2 for wrong usage."""
    open_closed()
    may_interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if may_interrupt:
        # Nothing is there yet that has to be put in order, and no word for a Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from edgecam.cli.main import main as run
    except ImportError as error:
        _refuse(error)
    except MemoryError:
        sys.stderr.write(
            "edgecam: error: out of memory while the program is loaded; raise the limit of this "
            "process (ulimit -v, LimitAS=, MemoryMax=; see: edgecam help troubleshooting)\n"
        )
        sys.exit(1)
    if may_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except ImportError as error:
        # What a command alone needs, it imports itself.
        _refuse(error)


if __name__ == "__main__":
    main()
