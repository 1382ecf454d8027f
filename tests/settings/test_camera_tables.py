"""Several cameras in one settings file, and in several that are joined."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core.errors import SettingsError
from edgecam.settings.house import House
from edgecam.settings.load import load, load_house

TWO = """
[mqtt]
url = "mqtt://broker"
[tracking]
max_age_s = 2.0
min_hits = 5
[[model]]
path = "posenet"
[[model]]
path = "models/ssdlite.tflite"
[[camera]]
name = "front"
source = "rtsp://front.local/stream"
rate_hz = 10
models = ["posenet"]
[camera.tracking]
max_age_s = 3.0
[[camera]]
name = "hall"
source = 0
priority = 2
boost_when = ["person", "fall"]
[[camera.zone]]
name = "sofa"
polygon = [[0, 0], [1, 0], [1, 1]]
"""


def written(folder: Path, text: str, name: str = "house.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def house_of(folder: Path, text: str, **environment: str) -> House:
    return load_house([written(folder, text)], environment, {})


def test_a_camera_has_its_own_settings_over_those_at_the_top(tmp_path: Path) -> None:
    house = house_of(tmp_path, TWO)
    front, hall = house.cameras
    assert (house.shared.name, house.has_several) == ("house", True)
    assert (front.name, front.source.url, front.rate_hz) == (
        *("front", "rtsp://front.local/stream"),
        10.0,
    )
    assert (hall.source.url, hall.priority, hall.boost_when) == ("0", 2.0, ("person", "fall"))
    assert [model.path for model in front.model] == ["posenet"]
    assert [model.path for model in hall.model] == ["posenet", "models/ssdlite.tflite"]
    assert (front.tracking.max_age_s, front.tracking.min_hits) == (3.0, 5)
    assert (hall.tracking.max_age_s, hall.tracking.min_hits) == (2.0, 5)
    assert ([z.name for z in front.zone], [z.name for z in hall.zone]) == ([], ["sofa"])
    assert {camera.mqtt.url for camera in house.cameras} == {"mqtt://broker"}


def test_a_zone_at_the_top_is_the_default_or_one_cameras(tmp_path: Path) -> None:
    zone = '[[zone]]\nname = "{}"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'
    text = zone.format("all") + zone.format("bed") + 'camera = "hall"\n' + TWO
    front, hall = house_of(tmp_path, text).cameras
    assert [z.name for z in front.zone] == ["all"]
    assert [z.name for z in hall.zone] == ["bed", "sofa"]


def test_a_file_with_one_camera_is_one_camera_that_flags_beat(tmp_path: Path) -> None:
    path = written(tmp_path, '[[camera]]\nname = "front"\nsource = 1\n')
    house = load_house([path], {}, {"source.url": "2"})
    assert not house.has_several
    assert house.shared is house.cameras[0]
    assert (house.shared.name, house.shared.source.url) == ("front", "2")
    assert load(path, {}, {}).source.url == "1"


def test_a_file_without_a_camera_table_is_what_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "front"\nsource = 1\n', "a.toml")
    house = load_house([path], {}, {})
    assert house.cameras == (house.shared,) == (load(path, {}, {}),)


CAMERAS = '[[camera]]\nname = "front"\nsource = {}\n[[camera]]\nname = "{}"\nsource = {}\n'


ZONE = '[[camera.zone]]\nname = "bed"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CAMERAS.format(0, "front", 1), ["two cameras are called 'front'"]),
        (CAMERAS.format(0, "hall", '"/dev/video0"'), ["front and hall have one device"]),
        (CAMERAS.format('"picamera"', "hall", '"picamera:0"'), ["one device, picamera:0"]),
        (CAMERAS.format('"-"', "hall", '"/dev/stdin"'), ["one device, standard input"]),
        (
            CAMERAS.format('"udp://0.0.0.0:5000"', "hall", '"udp://127.0.0.1:5000?a=b"'),
            ["one device, UDP port 5000"],
        ),
        ("[[camera]]\nname = 3\nsource = 0\n", ["camera 1: expected a name, found 3"]),
        (f"foo = 1\n{CAMERAS.format(0, 'hall', 1)}", ["house.toml: unknown key 'foo'"]),
        (
            CAMERAS.format(0, "hall", 1) + 2 * ZONE,
            ["camera hall: Expected different names, found zone bed twice"],
        ),
        (f"{CAMERAS.format(0, 'hall', 1)}priority = 0\n", ["camera hall: priority", "found 0"]),
        (f"{CAMERAS.format(0, 'hall', 1)}priority = nan\n", ["camera hall: priority", "found nan"]),
        (f'{CAMERAS.format(0, "hall", 1)}boost_when = "fall"\n', ["boost_when", "a list"]),
        (CAMERAS.format(0, "h/all", 1), ["camera h/all: name", "'h-all' is one"]),
        (CAMERAS.format(0, "hall", "true"), ["camera hall: source", "a table", "found True"]),
        ("camera = []\n", ["camera: expected tables [[camera]], found []"]),
        (CAMERAS.format(0, "house", 1), ["expected one that no camera has", "'house'"]),
        ("[[camera]]\nsource = 0\n", ["camera 1: expected a name, found none"]),
        (
            f'{CAMERAS.format(0, "hall", 1)}models = ["nanodet"]\n',
            ["camera hall: models", "[[model]] defines (none)", "found 'nanodet'"],
        ),
        (
            '[[zone]]\nname = "bed"\ncamera = "hal"\npolygon = [[0,0],[1,0],[1,1]]\n'
            + CAMERAS.format(0, "hall", 1),
            ["zone bed: camera: expected one of front, hall, found 'hal'"],
        ),
        (
            f'{CAMERAS.format(0, "hall", 1)}[camera.mqtt]\nurl = "mqtt://x"\n',
            ["camera hall: mqtt is shared by all cameras"],
        ),
        (
            f"{CAMERAS.format(0, 'hall', 1)}motoin = 1\n",
            ["camera hall: unknown key 'motoin' (did you mean 'motion'?)"],
        ),
        (
            f"{CAMERAS.format(0, 'hall', 1)}[camera.motion]\nhold = 1\n",
            ["camera hall: unknown key 'motion.hold' (did you mean 'motion.hold_s'?)"],
        ),
        (
            '[output]\njsonl = "a"\n' + CAMERAS.format(0, "hall", 1),
            ["front and hall have one output.jsonl, a"],
        ),
        ("[output]\nshow = true\n" + CAMERAS.format(0, "hall", 1), ["output.show"]),
        ("camera = 3\n", ["camera: expected tables [[camera]]"]),
    ],
)
def test_bad_cameras_are_refused_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as found:
        house_of(tmp_path, text)
    assert all(word in str(found.value) for word in words), found.value
    assert "\n" not in str(found.value)


def test_a_fifo_is_a_device_and_a_recording_is_not(tmp_path: Path) -> None:
    fifo, clip = tmp_path / "fifo", tmp_path / "clip.mp4"
    os.mkfifo(fifo)
    clip.touch()
    house_of(tmp_path, CAMERAS.format(f'"{clip}"', "hall", f'"{clip}"'))
    with pytest.raises(SettingsError, match=f"front and hall have one device, {fifo}"):
        house_of(tmp_path, CAMERAS.format(f'"{fifo}"', "hall", f'"{fifo}"'))


def test_a_source_flag_for_several_cameras_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    with pytest.raises(SettingsError, match="--source: expected one camera, found 2"):
        load_house([path], {}, {"source.url": "1"}, {"source.url": "--source"})


def test_a_command_for_one_camera_refuses_a_file_of_several(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    with pytest.raises(SettingsError, match=r"expected one camera, found 2 \(front, hall\)"):
        load(path, {}, {})


def test_the_environment_may_hold_the_address_of_a_camera(tmp_path: Path) -> None:
    front, _ = house_of(tmp_path, TWO, EDGECAM_CAMERA_FRONT_SOURCE_URL="rtsp://u:p@x/").cameras
    assert front.source.url == "rtsp://u:p@x/"
    with pytest.raises(SettingsError, match="EDGECAM_CAMERA_DOOR_SOURCE_URL: expected the name"):
        house_of(tmp_path, TWO, EDGECAM_CAMERA_DOOR_SOURCE_URL="rtsp://x/")


def test_files_are_joined_each_with_its_own_defaults(tmp_path: Path) -> None:
    first = 'name = "front"\nsource = 1\n[tracking]\nmin_hits = 7\n[mqtt]\nurl = "mqtt://b"\n'
    second = '[[model]]\npath = "posenet"\n[[camera]]\nname = "hall"\nsource = 2\n'
    paths = [written(tmp_path, first, "a.toml"), written(tmp_path, second, "b.toml")]
    house = load_house(paths, {}, {})
    front, hall = house.cameras
    assert (house.shared.name, front.name, hall.name) == ("edgecam", "front", "hall")
    assert (front.tracking.min_hits, hall.tracking.min_hits) == (7, 3)
    assert front.mqtt == hall.mqtt == house.shared.mqtt
    other = written(tmp_path, 'name = "c"\n[mqtt]\nurl = "mqtt://other"\n', "c.toml")
    with pytest.raises(SettingsError, match=r"a\.toml and .*c\.toml set mqtt\.url differently"):
        load_house([*paths, other], {}, {})


def test_the_schema_of_a_settings_file_knows_cameras() -> None:
    result = CliRunner().invoke(cli, ["schema", "settings"])
    camera = json.loads(result.output)["properties"]["camera"]["items"]
    assert camera["required"] == ["name"]
    assert "mqtt" not in camera["properties"]
    assert {"name", "source", "zone", "priority", "boost_when"} <= camera["properties"].keys()
