"""Whether there is room, and leave, to write where edgecam writes."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgecam.core.places import expanded
from edgecam.inference.probe import cache_directory
from edgecam.settings.schema import Settings
from edgecam.sinks.mqtt.spool import spool_directory
from edgecam.sinks.recorder import folder as recordings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn

LOW_DISK_MB, FULL_DISK_MB = 500, 50


def _places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """What is written there, and the directory."""
    cache = cache_directory()
    if cache is not None:
        yield "what is remembered between starts", cache
    for what, name in (
        ("output.jsonl", settings.output.jsonl),
        ("output.events_jsonl", settings.output.events_jsonl),
    ):
        # A pipe or a device takes no room.
        if name and name != "-" and not (os.path.exists(name) and not os.path.isfile(name)):
            yield what, Path(expanded(name, what)).absolute().parent
    if settings.mqtt.url is not None and settings.mqtt.spool:
        spool = spool_directory(settings.mqtt, settings.name, os.environ)
        if spool is not None:
            yield "events that wait for the broker", spool
    if settings.recorder.enabled:
        yield "recorder", recordings.place(settings.recorder, settings.name, os.environ)


def _existing(place: Path) -> Path:
    # Not Path.is_dir: below a folder that may not be entered it raises.
    while not os.path.isdir(place) and place != place.parent:
        place = place.parent
    return place


def _fault(place: Path) -> OSError | None:
    """Why a file cannot be made and filled in ``place``."""
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".edgecam-") as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        return error
    return None


def _remedy(error: OSError, place: Path) -> str:
    if error.errno == errno.EROFS:
        return "mount it writable; where it became so by itself, replace the card (see dmesg)"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room in {place}"
    return f"let this user write there: sudo chown $USER {place}"


def disk(settings: Settings) -> Iterator[Finding]:
    """Room and leave to write, once for each directory that edgecam writes into."""
    seen: dict[Path, list[str]] = {}
    for what, directory in _places(settings):
        seen.setdefault(_existing(directory), []).append(what)
    for place, purposes in seen.items():
        purpose = ", ".join(purposes)
        free_mb = shutil.disk_usage(place).free // 1_000_000
        text = f"{free_mb} MB free in {place} ({purpose})"
        error = _fault(place)
        if error is not None:
            said = error.strerror or str(error)
            yield fail("disk", f"{place} ({purpose}): {said.lower()}", _remedy(error, place))
        elif free_mb < FULL_DISK_MB:
            yield fail("disk", text, f"make room in {place}")
        elif free_mb < LOW_DISK_MB:
            yield warn("disk", text, f"make room in {place}")
        else:
            yield ok("disk", text)
