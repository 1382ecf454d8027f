"""What people type at first: it is taken for what it means, or the message shows what works."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from programs import CLIP

from edgecam.cli.commands import doctor
from edgecam.cli.main import cli
from edgecam.core.errors import EdgecamError, ModelError, SettingsError, SourceError
from edgecam.inference import catalog
from edgecam.mqtt.address import parse_url
from edgecam.settings.load import load, parse, read_toml
from edgecam.sources.kinds import check


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code in (1, 2)
    return done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("posnet", "did you mean 'posenet'?"),
        ("yolov8n.pt", "expected a .tflite file, found a PyTorch file; export it: yolo export"),
        ("model.onnx", "found an ONNX file; onnx2tf makes a .tflite of it"),
        ("model.keras", "found a Keras file; edgecam convert makes a .tflite of it"),
        ("nothing", "bundled are: "),
    ],
)
def test_a_model_that_is_none_names_what_was_meant(name: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.resolve(name)
    assert words in str(caught.value)


def test_a_pytorch_file_that_is_there_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "yolov8n.pt"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    assert "found a PyTorch file; export it" in said("--model", str(path), "--source", str(CLIP))


@pytest.mark.parametrize("url", ["192.168.1.20", "192.168.1.20:554/live", "camera.local"])
def test_a_cameras_address_alone_shows_the_whole_one(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        check(url)
    assert f"rtsp://{url}" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("localhost", "mqtt://localhost:1883"),
        ("homeassistant.local:1884", "mqtt://homeassistant.local:1884"),
        ("192.168.1.2", "mqtt://192.168.1.2:1883"),
        ("[::1]", "mqtt://[::1]:1883"),
        ("broker:8883", "mqtts://broker:8883"),
    ],
)
def test_a_brokers_host_alone_is_its_url(url: str, broker: str) -> None:
    assert str(parse_url(url)) == broker


@pytest.mark.parametrize("url", ["user:secret@host", "host/topic", "-x", "host:port", ""])
def test_what_is_no_host_alone_is_refused_as_before(url: str) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.url: expected"):
        parse_url(url)


@pytest.mark.parametrize(
    ("toml", "key", "value"),
    [
        ('model = "posenet"', "model", [{"path": "posenet"}]),
        ('model = ["posenet", "ssdlite"]', "model", [{"path": "posenet"}, {"path": "ssdlite"}]),
        ('[model]\npath = "posenet"', "model", [{"path": "posenet"}]),
        ("source = 0", "source", {"url": "0"}),
        ("[source]\nurl = 0", "source", {"url": "0"}),
        ("[web]\nlisten = 8080", "web", {"listen": "127.0.0.1:8080"}),
        ('[web]\nlisten = "8080"', "web", {"listen": "127.0.0.1:8080"}),
        ('[inference]\nthreads = "auto"', "inference", {}),
    ],
)
def test_a_file_may_say_it_in_the_shorter_form(
    tmp_path: Path, toml: str, key: str, value: object
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(toml)
    assert read_toml(path)[key] == value


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[mqtt]\nhost = "x"', "unknown key 'mqtt.host'; it is called mqtt.url here"),
        ('[mqtt]\nusrname = "x"', "unknown key 'mqtt.usrname' (did you mean 'mqtt.username'?)"),
        ("[decode]\nscore_threshold = 50", "(50 % is 0.5), found 50"),
        ('name = "Front Door"', "('front-door' is one; a title may be any text)"),
        ('[source]\nurl = ""', "source.url: Expected some text, found ''"),
        ('[inference]\nthreads = "two"', "Expected a whole number, found 'two'"),
    ],
)
def test_a_file_that_is_refused_is_shown_the_form_that_works(
    tmp_path: Path, toml: str, words: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(toml)
    with pytest.raises(SettingsError) as caught:
        read_toml(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("decode.score_threshold", ".5", 0.5),
        ("decode.score_threshold", "1.", 1.0),
        ("inference.threads", "auto", None),
        ("web.listen", "80", "127.0.0.1:80"),
    ],
)
def test_a_flag_may_say_it_in_the_shorter_form(key: str, text: str, value: object) -> None:
    assert parse(key, text, "--flag") == value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--score-threshold", "50"), "(50 % is 0.5), found '50'"),
        (("--name", "Front Door"), "'front-door' is one; a title may be any text"),
        (("--source", ""), "source.url: Expected some text"),
        (("run",), "'run' is not needed: edgecam --source 0 --web"),
        (("detect",), "'detect' is not needed"),
        (("inspct",), "Did you mean 'inspect'?"),
        (("doctor", "front"), "/etc/edgecam/front.toml; other settings: edgecam doctor --config"),
    ],
)
def test_words_that_are_no_command_or_value_show_what_works(
    arguments: tuple[str, ...], words: str
) -> None:
    assert words in " ".join(said(*arguments).split())


def test_doctor_takes_the_name_of_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "INSTANCES", tmp_path)
    (tmp_path / "front.toml").write_text("[decode]\nscore_threshold = 7\n")
    done = CliRunner().invoke(cli, ["doctor", "front", "python"])
    assert "front.toml: decode.score_threshold" in done.stdout


def test_every_refusal_of_these_is_a_fault_that_a_person_can_fix() -> None:
    for flags in ({"name": "Tür Haus"}, {"decode.score_threshold": "101"}):
        with pytest.raises(EdgecamError):
            load(None, {}, flags)


def test_a_word_that_is_none_of_a_choice_shows_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        parse("accuracy", "high", "--accuracy")
    assert str(caught.value) == (
        "--accuracy: accuracy: Expected fast, balanced or best, found 'high'"
    )
    path = tmp_path / "front.toml"
    path.write_text('[web]\ncontrols = ["pause", "zone"]\n')
    with pytest.raises(SettingsError) as caught:
        read_toml(path)
    # Of a list the word that is wrong, not the first.
    assert "detect (did you mean 'zones'?), found 'zone'" in str(caught.value)


def test_the_version_is_an_option() -> None:
    assert "the version is edgecam --version" in said("version")


def test_a_service_needs_a_camera_and_a_name_of_small_letters(tmp_path: Path) -> None:
    assert "--source 0 is the first camera" in said("service", "install", "front")
    words = said("service", "install", "Front Door", "--source", "0", "--root", str(tmp_path))
    assert "'front-door' is one" in words
