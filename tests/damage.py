"""Loads damaged copies of a model, each in a process of its own: python damage.py MODEL COUNTS SEED

COUNTS is TRUNCATIONS,MUTATIONS,PAGES. Prints one JSON object. A copy goes the way that the daemon
takes (hash against the card, own reader, probe, runtime, one frame through it); only the processes
are forked from one that has imported everything, where the daemon starts new ones.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgecam.core.errors import EdgecamError, ModelError
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.inference import catalog as bundled
from edgecam.inference import probe, probe_child
from edgecam.inference.model import Model
from edgecam.inference.runtime import find
from edgecam.settings.schema import InferenceSettings, ModelSettings

PAGE_BYTES = 4096
# Flatbuffers keep their tables at one end; the rest is weights, which may be anything.
ENDS_BYTES = 65_536
LIMIT_S = 120
ACCEPTED, REFUSED, RAISED = 0, 1, 2


def somewhere(size: int, noise: random.Random) -> int:
    """A position, one in two within the ends."""
    end = min(ENDS_BYTES, size)
    where = noise.random()
    if where < 0.25:
        return noise.randrange(end)
    return noise.randrange(size - end if where < 0.5 else 0, size)


def copies(data: bytes, counts: list[int], noise: random.Random) -> Iterator[tuple[str, bytes]]:
    size = len(data)
    for _ in range(counts[0]):
        length = somewhere(size, noise)
        yield f"first {length} bytes", data[:length]
    for _ in range(counts[1]):
        at = somewhere(size, noise)
        changed = bytes([data[at] ^ noise.randrange(1, 256)])
        yield f"byte {at}", data[:at] + changed + data[at + 1 :]
    for _ in range(counts[2]):
        at = somewhere(size, noise) // PAGE_BYTES * PAGE_BYTES
        zeroed = data[:at] + bytes(len(data[at : at + PAGE_BYTES])) + data[at + PAGE_BYTES :]
        if zeroed != data:
            yield f"page at {at}", zeroed


def forked(work: Callable[[], int]) -> int:
    """What ``work`` returns in a child, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = RAISED
        try:
            signal.alarm(LIMIT_S)
            code = work()
        except BaseException as error:  # noqa: BLE001 - what the daemon would die of
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def probe_forked(path: Path, runtime: object, arguments: tuple[str, ...]) -> None:
    """``probe.run`` but for the new interpreter."""
    del runtime
    code = forked(lambda: probe_child.main([str(path), *arguments]))
    if code < 0:
        raise ModelError(f"{path}: it crashes the runtime ({signal.Signals(-code).name})")
    if code:
        raise ModelError(f"{path}: refused")


def processor_s() -> float:
    """Of all children that have ended: one thread each, so an idle machine takes as long."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load(path: Path) -> int:
    """The daemon's own part, with one frame; says on stdout why a copy is refused."""
    try:
        model = Model(ModelSettings(path=str(path)), InferenceSettings(threads=1))
        frame = Frame(np.zeros((240, 320, 3), np.uint8), 0, 0.0, 0.0)
        staged = model.preprocess(frame, model.buffer())
        model.decode(model.invoke(staged), staged, frame, DecodeOptions())
    except EdgecamError as error:
        return REFUSED if "\n" not in str(error) else RAISED
    return ACCEPTED


def main() -> None:
    original, counts = Path(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
    data, card = original.read_bytes(), bundled.card_of(original)
    assert card is not None
    probe.run = probe_forked  # type: ignore[assignment]
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    slowest_s: dict[str, tuple[float, str]] = {}
    unnoticed = 0
    sys.stdout.flush()
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if "EDGECAM_DAMAGE_SHOW" not in os.environ:
        os.dup2(nowhere, 2)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGECAM_CACHE_DIR"] = folder
        copy = Path(folder) / original.name
        for what, damaged in copies(data, counts, random.Random(int(sys.argv[3]))):
            copy.write_bytes(damaged)
            try:
                bundled.verify(card, damaged)
                unnoticed += 1
            except ModelError:
                outcomes["hash"] += 1
            began_s = processor_s()
            code = forked(lambda: load(copy))
            took_s = processor_s() - began_s
            names = {ACCEPTED: "accepted", REFUSED: "refused", RAISED: "raised"}
            outcome = names.get(code, "killed")
            outcomes[outcome] += 1
            slowest_s[outcome] = max(slowest_s.get(outcome, (0.0, "")), (round(took_s, 2), what))
            if code not in (ACCEPTED, REFUSED):
                bad.append(f"{what}: {names.get(code, code)}")
                if keep := os.environ.get("EDGECAM_DAMAGE_KEEP"):
                    shutil.copy(copy, Path(keep) / f"{len(bad)}.tflite")
    found = {
        "runtime": f"{find().name} {find().version}",
        "outcomes": outcomes,
        "unnoticed": unnoticed,
        "slowest_s": slowest_s,
        "bad": bad,
    }
    os.write(report, json.dumps(found).encode())


if __name__ == "__main__":
    main()
