from pathlib import Path

import pytest

from edgecam.core.result import SettingsError
from edgecam.settings.credentials import read_password, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:canary@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://user:c@n@ry@cam:554/x?y=1", "rtsp://***@cam:554/x?y=1"),
        ("cannot open 'http://u:canary@h/a' now", "cannot open 'http://***@h/a' now"),
        ("http://h/v?user=a&password=canary&x=1", "http://h/v?user=***&password=***&x=1"),
        ("http://h/cgi?usr=canary&pwd=canary", "http://h/cgi?usr=***&pwd=***"),
        ("MQTTS://token@h:8883 and rtsp://b:canary@i", "MQTTS://***@h:8883 and rtsp://***@i"),
        ("http://h/a@b", "http://h/a@b"),
        ("http://h:8080/a@b", "http://h:8080/a@b"),
        ("rtsp://u:can/ary?1#'@cam/live", "rtsp://***@cam/live"),
        ("write to someone@example.org", "write to someone@example.org"),
    ],
)
def test_redact_hides_user_and_password_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_password_comes_from_the_file_before_the_systemd_credential(tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_text("from-file\n")
    named.chmod(0o600)
    (tmp_path / "mqtt-password").write_text(" spaces kept \r\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = read_password(str(named), environment)
    assert found is not None
    assert found.secret == "from-file"
    assert found.warning is None
    systemd = read_password(None, environment)
    assert systemd is not None
    assert systemd.secret == " spaces kept "
    (tmp_path / "mqtt-password").write_text("\n")
    assert read_password(None, environment) is None, "the unit's default for no password"
    assert read_password(None, {}) is None
    assert read_password(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "no")}) is None


def test_a_world_readable_password_is_warned_about_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("canary")
    file.chmod(0o644)
    found = read_password(str(file), {})
    assert found is not None
    assert found.warning is not None
    assert "chmod 600" in found.warning
    assert "canary" not in f"{found!r} {found} {found.warning}"


@pytest.mark.parametrize("content", [b"", b"\n", b"canary\nsecond\n", b"\xff\xfe", b"a" * 70_000])
def test_a_file_that_is_no_password_is_refused_without_its_content(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="one line of UTF-8") as refusal:
        read_password(str(file), {})
    assert "canary" not in str(refusal.value)


def test_a_missing_password_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file.*mqtt\.password_file"):
        read_password(str(tmp_path / "absent"), {})
