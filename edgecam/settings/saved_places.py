"""Zones, masks and lines that people save on the live page, in files that edgecam owns.

Those of a camera stand in the state directory of its process, in ``NAME.zones.toml``. While
``web.controls`` lists ``zones`` they take the place of those in the settings file, which edgecam
never writes. What the last save replaced stands beside them, so that it can be undone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgecam.core import atomic_file, bounded_file
from edgecam.core.atomic_file import OutputError
from edgecam.core.errors import SettingsError
from edgecam.core.places import state_directory
from edgecam.settings.house import House
from edgecam.settings.load import parse_toml
from edgecam.settings.scene import PLACES
from edgecam.settings.schema import Settings

CONTROL = "zones"
# Where there was no file: undoing a first save goes back to the settings.
_NONE = b""


def places_of(text: bytes, origin: str) -> Settings:
    """Return settings that hold the places of a TOML text and nothing else.

    Raises:
        SettingsError: it holds something else, or what a settings file may not hold.
    """
    data = parse_toml(text, origin)
    other = next((key for key in data if key not in PLACES), None)
    if other is not None:
        raise SettingsError(f"{origin}: expected {', '.join(PLACES)} alone, found {other!r:.80}")
    return msgspec.convert(data, Settings)


class SavedPlaces:
    """The file of one camera; used by any thread.

    ``process`` is the name of the process that serves the camera ``name``.
    """

    def __init__(self, process: str, name: str, environment: Mapping[str, str]) -> None:
        folder = state_directory(process, environment)
        self._path = None if folder is None else folder / f"{name}.zones.toml"
        self._before = None if folder is None else folder / f"{name}.zones.before.toml"
        self._lock = threading.Lock()

    @property
    def path(self) -> Path | None:
        """The file, which need not be there; None where this user has no state directory."""
        return self._path

    @property
    def are_there(self) -> bool:
        """Whether something has been saved."""
        return self._path is not None and self._path.is_file()

    @property
    def can_undo(self) -> bool:
        """Whether what the last save replaced is still known."""
        return self._before is not None and self._before.is_file()

    def read(self) -> Settings | None:
        """Return settings that hold the saved places, None where none are saved.

        Raises:
            SettingsError: the file is damaged.
        """
        if self._path is None or not self.are_there:
            return None
        try:
            return places_of(bounded_file.read(self._path, bounded_file.TEXT_BYTES), "saved zones")
        except (OSError, SettingsError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SettingsError(
                f"{self._path}: expected zones as the live page saves them, found: {why}; fix or "
                "delete the file, then those of the settings hold"
            ) from None

    def save(self, text: bytes) -> None:
        """Keep these places for the next start.

        Raises:
            SettingsError: they will not do, or cannot be written.
        """
        places_of(text, "zones")
        path, before = self._writable()
        with self._lock:
            _write(before, path.read_bytes() if path.is_file() else _NONE)
            head = "# Saved on the live page, which writes this file: change it there.\n\n"
            _write(path, head.encode() + text.strip() + b"\n")

    def undo(self) -> None:
        """Go back to what the last save replaced, once.

        Raises:
            SettingsError: there is nothing to go back to, or it cannot be written.
        """
        path, before = self._writable()
        with self._lock:
            if not before.is_file():
                raise SettingsError("zones: expected a save to undo, found none since the last one")
            kept = before.read_bytes()
            if kept == _NONE:
                path.unlink(missing_ok=True)
            else:
                _write(path, kept)
            before.unlink()

    def _writable(self) -> tuple[Path, Path]:
        if self._path is None or self._before is None:
            raise SettingsError(
                "zones: expected a state directory to save them in, found none; set XDG_STATE_HOME"
            )
        return self._path, self._before


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write(path, data)
    except OSError as error:
        raise SettingsError(f"zones: cannot write {path}: {error.strerror or error}") from None
    except OutputError as error:
        raise SettingsError(f"zones: {error}") from None


def with_saved_places(house: House, environment: Mapping[str, str]) -> House:
    """The house with the places that its cameras' pages saved, where they may save any.

    Raises:
        SettingsError: such a file is damaged.
    """
    cameras = tuple(_with_saved(house.shared.name, each, environment) for each in house.cameras)
    return House(house.shared if house.has_several else cameras[0], cameras)


def _with_saved(process: str, camera: Settings, environment: Mapping[str, str]) -> Settings:
    if CONTROL not in camera.web.controls:
        return camera
    saved = SavedPlaces(process, camera.name, environment).read()
    if saved is None:
        return camera
    return msgspec.structs.replace(camera, zone=saved.zone, mask=saved.mask, line=saved.line)
