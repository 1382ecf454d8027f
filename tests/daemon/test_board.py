"""The service on a whole machine: the short form of scripts/test-board --nspawn."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from board import CHECKS, NSPAWN_PROGRAMS, cannot

SCRIPTS = Path(__file__).parents[2] / "scripts"
# All but what waits for half a minute or starts the machine a second time.
SHORT = (
    *("installs-and-publishes", "runs-without-a-home", "shows-no-secret", "is-confined"),
    *("status-and-doctor-see-it", "comes-back-after-kill", "reload-refuses-and-takes"),
    *("the-journal-knows-errors-from-the-rest", "settings-that-no-restart-fixes-end-it"),
    *("stops-at-once-and-says-so", "uninstall-leaves-nothing"),
)


def board(*arguments: str) -> list[str]:
    """The lines that the script prints; skips the test where it says that it cannot run here."""
    # The root that it makes once is kept in this user's own cache.
    cache = Path(pwd.getpwuid(0).pw_dir) / ".cache"
    done = subprocess.run(
        [sys.executable, SCRIPTS / "board.py", "--nspawn", "--without-libnss", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        timeout=800,
        check=False,
    )
    lines = done.stdout.splitlines()
    if lines and lines[0].startswith("skipped:"):
        pytest.skip(lines[0])
    assert lines, done.stderr
    return lines


@pytest.mark.skipif(cannot(NSPAWN_PROGRAMS) is not None, reason=str(cannot(NSPAWN_PROGRAMS)))
def test_the_service_on_a_minimal_debian() -> None:
    lines = board(*SHORT)
    assert lines[-1] == f"{len(SHORT)} passed, 0 failed, 0 skipped", "\n".join(lines)


@pytest.mark.long
@pytest.mark.skipif(cannot(NSPAWN_PROGRAMS) is not None, reason=str(cannot(NSPAWN_PROGRAMS)))
def test_everything_a_service_owes_its_machine() -> None:
    lines = board()
    assert lines[-1] == f"{len(CHECKS)} passed, 0 failed, 0 skipped", "\n".join(lines)
