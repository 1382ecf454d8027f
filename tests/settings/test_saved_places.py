"""Zones that the live page saves: which file, for which camera, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecam.core.errors import SettingsError
from edgecam.settings.load import load_house
from edgecam.settings.saved_places import SavedPlaces, with_saved_places

DOOR = b'[[zone]]\nname = "door"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'
GATE = DOOR.replace(b"door", b"gate")
SETTINGS = 'name = "front"\n[web]\ncontrols = ["zones"]\n' + DOOR.decode().replace("door", "file")
HOUSE = (
    'name = "house"\n[web]\ncontrols = ["zones"]\n'
    '[[camera]]\nname = "front"\nsource = "a.mp4"\n[[camera]]\nname = "hall"\nsource = "b.mp4"\n'
)


def names(text: str, folder: Path) -> list[list[str]]:
    """The zones of each camera of this settings file, as a run has them."""
    path = folder / "any.toml"
    path.write_text(text)
    environment = {"STATE_DIRECTORY": str(folder / "state")}
    house = with_saved_places(load_house([path], {}, {}), environment)
    return [[zone.name for zone in camera.zone] for camera in house.cameras]


def saved(folder: Path, process: str = "front", name: str = "front") -> SavedPlaces:
    return SavedPlaces(process, name, {"STATE_DIRECTORY": str(folder / "state")})


def test_what_is_saved_takes_the_place_of_what_the_settings_say(tmp_path: Path) -> None:
    assert names(SETTINGS, tmp_path) == [["file"]]
    saved(tmp_path).save(DOOR)
    assert names(SETTINGS, tmp_path) == [["door"]]
    assert names(SETTINGS.replace('"zones"', '"pause"'), tmp_path) == [["file"]]
    saved(tmp_path).save(b"")
    assert names(SETTINGS, tmp_path) == [[]]


def test_the_last_save_is_undone_once_down_to_the_settings(tmp_path: Path) -> None:
    places = saved(tmp_path)
    places.save(DOOR)
    places.save(GATE)
    assert places.can_undo
    places.undo()
    assert names(SETTINGS, tmp_path) == [["door"]]
    with pytest.raises(SettingsError, match="expected a save to undo, found none"):
        places.undo()
    other = saved(tmp_path, name="hall")
    other.save(GATE)
    other.undo()
    assert not other.are_there
    assert not other.can_undo


def test_each_of_several_cameras_has_its_own(tmp_path: Path) -> None:
    saved(tmp_path, "house", "hall").save(GATE)
    assert names(HOUSE, tmp_path) == [[], ["gate"]]
    saved(tmp_path, "house", "front").save(DOOR)
    assert names(HOUSE, tmp_path) == [["door"], ["gate"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"name = 'x'", "expected zone, mask, line alone, found 'name'"),
        (DOOR + DOOR, "zone door twice"),
        (DOOR.replace(b"[1, 1]", b"[2, 1]"), "<= 1"),
        (b"\xff", "expected TOML"),
    ],
)
def test_what_a_settings_file_may_not_say_is_not_saved(
    text: bytes, words: str, tmp_path: Path
) -> None:
    places = saved(tmp_path)
    with pytest.raises(SettingsError, match=words):
        places.save(text)
    assert not places.are_there


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    places = saved(tmp_path)
    places.save(DOOR)
    assert places.path is not None
    places.path.write_bytes(b"[[zone")
    with pytest.raises(SettingsError, match=r"front\.zones\.toml: expected zones .* delete the"):
        names(SETTINGS, tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SettingsError, match=r"zones: cannot write .*front\.zones"):
        saved(tmp_path).save(DOOR)
