"""Secrets beside a settings file: other commands see what the unit hands to the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecam.settings.companions import unreadable
from edgecam.settings.load import load


def configured(folder: Path) -> Path:
    config = folder / "front.toml"
    config.write_text('[source]\nurl = "http://10.0.0.7"\n[mqtt]\nurl = "mqtt://10.0.0.1"\n')
    (folder / "front.env").write_text(
        '# a comment\nEDGECAM_SOURCE_URL="http://eva:a\\"b\\$c@10.0.0.7/x"\nPATH="/evil"\n'
    )
    (folder / "front.password").write_text("secret\n")
    (folder / "front.web-token").write_text("token\n")
    return config


def test_settings_take_what_the_unit_reads_beside_them(tmp_path: Path) -> None:
    settings = load(configured(tmp_path), {}, {})
    assert settings.source.url == 'http://eva:a"b$c@10.0.0.7/x'
    assert settings.mqtt.password_file == str(tmp_path / "front.password")
    assert settings.web.token_file == str(tmp_path / "front.web-token")


def test_what_is_named_wins(tmp_path: Path) -> None:
    config = configured(tmp_path)
    config.write_text(config.read_text() + 'password_file = "/elsewhere"\n')
    settings = load(config, {"EDGECAM_SOURCE_URL": "http://other"}, {})
    assert settings.mqtt.password_file == "/elsewhere"
    assert settings.source.url == "http://other"


def test_a_service_takes_what_systemd_hands_it_alone(tmp_path: Path) -> None:
    settings = load(configured(tmp_path), {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}, {})
    assert settings.mqtt.password_file is None
    assert settings.source.url == "http://10.0.0.7"


def test_what_a_user_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "front.toml"
    (tmp_path / "front.password").write_text("secret\n")
    assert unreadable(config, {}) == []
    monkeypatch.setattr("os.access", lambda *_: False)
    assert unreadable(config, {}) == [tmp_path / "front.password"]
    assert unreadable(config, {"CREDENTIALS_DIRECTORY": "/run/credentials"}) == []
