"""``edgecam init`` and ``edgecam schema settings``: a settings file that people can start from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from edgecam.cli.commands.init import EXAMPLES, commented
from edgecam.cli.main import cli
from edgecam.settings.json_schema import json_schema
from edgecam.settings.load import LISTS, describe, parse_toml
from edgecam.settings.schema import Settings


def test_init_writes_every_key_and_the_file_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["init", "front"]).exit_code == 0
    text = Path("front.toml").read_text("utf-8")
    assert parse_toml(text.encode(), "x") == {"name": "front", "model": [{"path": "posenet"}]}
    leaves = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))
    missing = {i.key for i in describe() if i.key.rpartition(".")[2] not in leaves}
    assert missing == {"plugin"}
    # No file is overwritten.
    assert CliRunner().invoke(cli, ["init", "front"]).exit_code == 1
    assert Path("front.toml").read_text("utf-8") == text


def test_every_line_that_is_commented_out_is_a_setting_with_its_default() -> None:
    text = commented("front", "front.toml")
    active = re.sub(r"^# (?=\w+ = |\[{1,2}[a-z]+\])", "", text, flags=re.MULTILINE)
    found = msgspec.convert(parse_toml(active.encode(), "x"), Settings)
    for info in describe():
        if info.key.partition(".")[0] in {*LISTS, "plugin"}:
            continue
        value: Any = found
        for part in info.key.split("."):
            value = getattr(value, part)
        expected = "front" if info.key == "name" else EXAMPLES.get(info.key, info.default)
        assert value == expected, info.key


def test_the_schema_of_settings_is_draft_7() -> None:
    done = CliRunner().invoke(cli, ["schema", "settings"])
    schema = json.loads(done.stdout)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema == json.loads(msgspec.json.encode(json_schema()))
    assert not {"prefixItems", "$defs"} & set(re.findall(r'"(\$?\w+)":', done.stdout))
    keys = {info.key.rpartition(".")[2] for info in describe()}
    properties = {
        key
        for part in (schema, *schema["definitions"].values())
        for key in part.get("properties", ())
    }
    assert keys <= properties
    assert {"type": "null"} not in schema["definitions"]["MqttSettings"]["properties"].values()
