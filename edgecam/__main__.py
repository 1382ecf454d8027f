"""Where the program begins: an installation that cannot be imported is told in one line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exits 0, 1 for a fault, 2 for wrong usage."""
    try:
        from edgecam.cli.main import main as run
    except ImportError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        words = next(iter(str(cause).strip().splitlines()), "no reason given")
        package = "numpy" if "numpy" in f"{error} {error.name}" else "edgecam"
        sys.stderr.write(
            f"edgecam: error: a package that edgecam needs cannot be imported: {words}; run: pip "
            f"install --force-reinstall {package}; where a library (.so) is missing, apt install "
            "it (see README: When something is wrong)\n"
        )
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
