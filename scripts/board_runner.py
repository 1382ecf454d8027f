"""The one loop over checks: run each, print what became of it, count."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Machine = TypeVar("Machine")
MAX_REASON = 1500


@dataclass(frozen=True)
class Tally:
    """How many checks passed and failed."""

    passed: int = 0
    failed: int = 0


def run_checks(
    machine: Machine,
    checks: Mapping[str, Callable[[Machine], None]],
    names: Sequence[str],
    *,
    before: Callable[[], object] = lambda: None,
    after_failure: Callable[[], object] = lambda: None,
) -> Tally:
    """Run the checks of these names in their order.

    ``before`` comes first in each check and counts as a part of it; ``after_failure`` puts back
    what a failed one has left.
    """
    passed = failed = 0
    for name in names:
        began_s = time.monotonic()
        try:
            before()
            checks[name](machine)
        except Exception as error:  # noqa: BLE001 - the next check tells more
            failed += 1
            reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
            # A machine that does not even answer fails the next check too, and each says so.
            with contextlib.suppress(Exception):
                after_failure()
        else:
            passed, reason = passed + 1, ""
        word = "failed" if reason else "passed"
        ending = f": {reason}" if reason else ""
        print(f"{word}  {name} ({time.monotonic() - began_s:.0f} s){ending}", flush=True)
    return Tally(passed, failed)
