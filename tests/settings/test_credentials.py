from pathlib import Path

import pytest

from edgecam.core.errors import SettingsError
from edgecam.core.redaction import redact, shown
from edgecam.settings.credentials import read_password


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://user:canary@cam:554/stream?x=1#y", "rtsp://cam:554"),
        ("RTSP://user:c@n@ry@192.168.1.9/x?y=1", "RTSP://192.168.1.9"),
        ("rtsp://eva:ca nary@cam/live", "rtsp://cam"),
        ("rtsp://eva:can#ary@cam/", "rtsp://***"),
        ("rtsp://eva:12/34@cam/live", "rtsp://***"),
        ("rtsp://eva:can/ary?1#'@cam/live", "rtsp://***"),
        ("rtsp://admin:canary192.168.1.200:554/profile1", "rtsp://***"),
        ("rtsp://[fe80::1%eth0]:554/canary", "rtsp://[fe80::1%eth0]:554"),
        ("http://[::1/", "http://***"),
        ("http://192.168.1.9/user=admin_password=can@ry_channel=1", "http://192.168.1.9"),
        ("http://haustür.local:8080/", "http://haustür.local:8080"),
        ("http:///canary", "http://***"),
        ("rtsp://u:canary@", "rtsp://***"),
        ("rtsp:/eva:canary@cam/x", "rtsp:***"),
        ("rtsp:eva:canary@cam/x", "rtsp:***"),
        ("eva:canary@cam/live", "***"),
        ("clips/a@b/c.mp4", "clips/a@b/c.mp4"),
        ("/srv/a:b@c.mp4", "/srv/a:b@c.mp4"),
        ("file:///srv/a.mp4", "file:///srv/a.mp4"),
        ("picamera:1", "picamera:1"),
        ("0", "0"),
    ],
)
def test_a_source_is_shown_as_a_path_or_as_scheme_host_and_port(url: str, expected: str) -> None:
    assert shown(url) == expected
    assert shown(expected) == expected, "once more changes nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot open 'http://u:canary@h/a' now", "cannot open 'http://h' now"),
        ("MQTTS://token@h:8883 and rtsp://b:canary@i", "MQTTS://h:8883 and rtsp://i"),
        ("rtsp://cam:554: no answer", "rtsp://cam:554: no answer"),
        ("rtsp://cam/canary: offline: the server ends", "rtsp://cam: offline: the server ends"),
        ("['rtsp://eva:ca nary@cam/live']", "['rtsp://***"),
        ("rtsp://eva:can/ary?1#'@cam/live, rtsp://i", "rtsp://***, rtsp://i"),
        ("(http://h/x?pw=canary).", "(http://h)."),
        ("write to someone@example.org", "write to someone@example.org"),
        (
            "expected mqtt://HOST[:1883] or mqtts://HOST[:8883]/TOPIC, rtsp:// or http://...",
            "expected mqtt://HOST[:1883] or mqtts://HOST[:8883]/TOPIC, rtsp:// or http://...",
        ),
        ("such as mqtt://broker/edgecam/+/frame", "such as mqtt://broker/edgecam/+/frame"),
        ("rtsp://HOST:canary@cam/x", "rtsp://cam"),
        ("rtsp://USER:PASSWORD@HOST/PATH", "rtsp://HOST"),
        ("file:///srv/clip.mp4: no such file", "file:///srv/clip.mp4: no such file"),
    ],
)
def test_in_a_text_every_url_is_scheme_host_and_port(text: str, expected: str) -> None:
    assert redact(text) == expected


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


def test_a_credential_that_is_closed_to_this_process_is_none(tmp_path: Path) -> None:
    """As to ExecReload= and ExecStartPost=, which systemd gives the directory's name alone."""
    closed = tmp_path / "credentials"
    closed.write_text("")
    assert read_password(None, {"CREDENTIALS_DIRECTORY": str(closed)}) is None


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
