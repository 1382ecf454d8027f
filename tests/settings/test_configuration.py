import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.cli.options import FLAG_NAMES
from edgecam.core import bounded_toml
from edgecam.core.errors import SettingsError
from edgecam.settings.load import SettingInfo, describe, load, parse_toml


def test_flags_beat_environment_beat_file_beat_defaults(tmp_path: Path) -> None:
    config = tmp_path / "front.toml"
    config.write_text(
        'name = "front"\n[decode]\nmax_poses = 2\nscore_threshold = 0.2\n'
        'top_k = 3\n[[model]]\npath = "a.tflite"\n'
    )
    settings = load(
        config,
        {"EDGECAM_DECODE_MAX_POSES": "3", "EDGECAM_DECODE_SCORE_THRESHOLD": "0.3", "HOME": "/"},
        {"decode.score_threshold": 0.4},
    )
    assert settings.name == "front"
    assert settings.decode.score_threshold == 0.4
    assert settings.decode.max_poses == 3
    assert settings.decode.top_k == 3
    assert settings.decode.nms_radius_px == 20.0
    assert [m.path for m in settings.model] == ["a.tflite"]


def test_model_flags_replace_the_files_models_and_take_the_model_settings() -> None:
    settings = load(
        None, {"EDGECAM_MODEL": "x.tflite"}, {"model.path": ["b", "c"], "model.input_size": "33x17"}
    )
    assert [(m.path, m.input_size) for m in settings.model] == [("b", "33x17"), ("c", "33x17")]


def test_a_models_variable_reaches_the_models_that_flags_name() -> None:
    settings = load(None, {"EDGECAM_MODEL_FIT": "stretch"}, {"model.path": ["b"]})
    assert settings.model[0].fit == "stretch"


def test_one_model_may_be_written_as_a_plain_table(tmp_path: Path) -> None:
    config = tmp_path / "front.toml"
    config.write_text('[model]\npath = "a.tflite"\n')
    assert [m.path for m in load(config, {}, {}).model] == ["a.tflite"]


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[decode]\nmax_pose = 2", ["decode.max_pose", "did you mean 'decode.max_poses'"]),
        ("[mqqt]\nurl = 'x'", ["unknown key 'mqqt'", "did you mean 'mqtt"]),
        ("[decode]\nmax_poses = 0", ["decode.max_poses", ">= 1", "found 0"]),
        ("[decode]\nmax_poses = 'a'", ["decode.max_poses", "whole number", "found 'a'"]),
        ("name = 'Front Door'", ["name", "a-z0-9_-", "Front Door"]),
        ("[[model]]\npath='a'\ndecoder='x'", ["model.decoder", "found 'x'"]),
        ("[[model]]\npath='a'\nlabel='x'", ["model.label", "did you mean 'model.labels'"]),
        ("name = ", ["expected TOML"]),
    ],
)
def test_a_bad_file_is_refused_with_key_expectation_and_finding(
    tmp_path: Path, toml: str, words: list[str]
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(toml)
    with pytest.raises(SettingsError) as refusal:
        load(config, {}, {})
    message = str(refusal.value)
    assert str(config) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"EDGECAM_MQTT_URI.*EDGECAM_MQTT_URL"):
        load(None, {"EDGECAM_MQTT_URI": "mqtt://x"}, {})


def test_a_variable_may_be_called_after_its_flag() -> None:
    environment = {"EDGECAM_BROKER": "mqtt://h", "EDGECAM_SCORE_THRESHOLD": "0.3"}
    settings = load(None, {**environment, "EDGECAM_SHOW": "true"}, {}, FLAG_NAMES)
    assert settings.mqtt.url == "mqtt://h"
    assert settings.decode.score_threshold == 0.3
    assert settings.output.show
    with pytest.raises(SettingsError, match=r"EDGECAM_BROKER and EDGECAM_MQTT_URL set mqtt.url"):
        load(None, {**environment, "EDGECAM_MQTT_URL": "mqtt://other"}, {}, FLAG_NAMES)


def test_a_bad_variable_and_a_bad_flag_are_named() -> None:
    with pytest.raises(
        SettingsError, match=r"EDGECAM_DECODE_TOP_K: decode.top_k: .*whole number.*'many'"
    ):
        load(None, {"EDGECAM_DECODE_TOP_K": "many"}, {})
    with pytest.raises(SettingsError, match=r"--max-poses: decode.max_poses: .*>= 1.*found 0"):
        load(None, {}, {"decode.max_poses": 0}, {"decode.max_poses": "--max-poses"})


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(Path("/nonexistent/x.toml"), {}, {})


def test_every_setting_has_a_description() -> None:
    assert [info.key for info in describe() if not info.description] == []


def test_a_number_without_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("max_frames = " + "9" * 5000)
    with pytest.raises(SettingsError, match="expected TOML") as found:
        load(path, {}, {})
    assert "\n" not in str(found.value)


def key(parts: int, part: str = "a") -> str:
    return ".".join([part] * parts)


@pytest.mark.parametrize(
    "toml",
    [
        f"{key(17)} = 1",
        f"[{key(17)}]",
        f"[[ {key(17)} ]]",
        f"x = {{ {key(17)} = 1 }}",
        key(17, '"a"') + " = 1",
        key(17, " 'a' ") + " = 1",
        # Texts that end later or sooner than they seem to.
        f'x = [""""y"""", {{ {key(17)} = 1 }}]',
        f"x = ['''y''''', {{ {key(17)} = 1 }}]",
        f'x = "\\""\n{key(17)} = 1',
        f"x = '\\'\n{key(17)} = 1",
        f'x = """\\""""""\n{key(17)} = 1',
    ],
)
def test_a_key_of_many_parts_is_refused_wherever_it_stands(toml: str) -> None:
    with pytest.raises(SettingsError, match="a key of more than 16 parts"):
        parse_toml(toml.encode(), "x")


@pytest.mark.parametrize(
    "toml",
    [
        f"name = '{key(17)}'",
        f'name = "\\"{key(17)}"',
        f'name = """\n{key(17)}"""',
        f"# {key(17)}\n",
        "x = [" + "0.5, " * 20 + "]",
        f"{key(16)} = 1",
    ],
)
def test_dots_in_texts_comments_and_numbers_are_no_parts_of_a_key(toml: str) -> None:
    assert bounded_toml.loads(toml) is not None


def test_a_settings_file_without_end_and_a_long_value_are_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"/dev/zero: .*larger than 4194304 bytes"):
        load(Path("/dev/zero"), {}, {})
    path = tmp_path / "x.toml"
    for text in (f"name = '{'a' * 30_000}!'", f"{'a' * 30_000} = 1"):
        path.write_text(text)
        with pytest.raises(SettingsError) as found:
            load(path, {}, {})
        assert len(str(found.value)) < 500


def texts() -> list[SettingInfo]:
    """The settings that take a path, an address or a name."""
    kinds = ("[str", "str |", "Optional[str")
    return [i for i in describe() if any(k in str(i.type) for k in kinds) and not i.in_file_alone]


@pytest.mark.parametrize("info", texts(), ids=lambda info: info.key)
def test_no_text_of_a_setting_holds_a_nul_byte(tmp_path: Path, info: SettingInfo) -> None:
    section, _, leaf = info.key.rpartition(".")
    value = json.dumps(["a\0b"] if isinstance(info.default, tuple) else "a\0b")
    config = tmp_path / "nul.toml"
    config.write_text(f"[{section}]\n{leaf} = {value}" if section else f"{leaf} = {value}")
    with pytest.raises(SettingsError, match=rf"nul.toml: {info.key}: .*a NUL byte in 'a\\x00b'"):
        load(config, {}, {})
    if "pattern" not in str(info.type):
        given = {"model.path": ["m"], info.key: ["a\0b"] if leaf == "path" else "a\0b"}
        with pytest.raises(SettingsError, match=rf"{info.key}: .*a NUL byte in 'a\\x00b'"):
            load(None, {}, given)


def test_no_argument_holds_a_nul_byte() -> None:
    for arguments in (["--config", "a\0b"], ["inspect", "a\0b"], ["replay", "a", "--write", "\0"]):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 2
        assert "found a NUL byte in" in done.output
