"""A user without a home directory and without an entry in passwd, as systemd's DynamicUser is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber
from programs import CLIP, edgecam, environment, error_line, start

from edgecam.core.errors import SettingsError
from edgecam.core.places import base_directory, expanded
from edgecam.inference import catalog as bundled
from edgecam.inference import probe

# In no passwd: what it needs of this machine's files it may read all the same.
STRANGER = "54321"
AS_STRANGER = (
    *("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
only_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="to become a user of no entry in passwd takes root and setpriv (apt install util-linux)",
)


def bare() -> dict[str, str]:
    """An environment that names no directory of the user's."""
    own = {"HOME", "USER", "LOGNAME", "TMPDIR", "PYTHONDONTWRITEBYTECODE"}
    kept = {
        key: value
        for key, value in environment().items()
        if key not in own and not key.startswith("XDG_")
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def as_stranger(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_STRANGER, sys.executable, "-m", "edgecam", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**bare(), **variables},
        check=False,
    )


@only_root
def test_the_whole_daemon_runs_without_a_home(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    """Models, clip, broker, page, recorder and files, as the unit runs them."""
    kept, log = tmp_path / "kept", tmp_path / "log"
    for folder in (kept, log):
        folder.mkdir()
        os.chown(folder, int(STRANGER), int(STRANGER))
    settings = tmp_path / "front.toml"
    settings.write_text(
        f'name = "front"\n[[model]]\npath = "posenet"\n[[model]]\npath = "ssdlite"\n'
        f'[source]\nurl = "{CLIP}"\n[mqtt]\nurl = "{mosquitto.url}"\n[recorder]\nenabled = true\n'
        f'[web]\nlisten = "127.0.0.1:0"\n[output]\njsonl = "{log}/results.jsonl"\n'
    )
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    done = as_stranger("--config", settings, STATE_DIRECTORY=str(kept))
    assert done.returncode == 0, done.stderr
    assert len((log / "results.jsonl").read_text("utf-8").splitlines()) == 100
    assert len(subscriber.wait_for("edgecam/front/result", 50)) >= 50
    assert list((kept / "recordings").glob("*.recording.gz"))


@only_root
@pytest.mark.parametrize(
    "command",
    [
        ("models",),
        ("models", "verify"),
        ("models", "show", "posenet"),
        ("inspect", "posenet"),
        ("replay", CLIP, "--model", "posenet", "--max-frames", "1"),
        ("bench", "posenet", "--rounds", "1", "--max-frames", "20"),
        ("doctor", "disk", "runtime", "model"),
        ("schema",),
    ],
    ids=lambda command: " ".join(map(str, command[:2])).replace(str(CLIP), "clip"),
)
def test_a_command_without_a_home_does_what_it_does(command: tuple[object, ...]) -> None:
    done = as_stranger(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr


@only_root
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("models", "pull", "coco_ssd_mobilenet_v1"), "name one with --directory"),
        (("inspect", "~/x.tflite"), "expected a home directory of this user, found none"),
        (("inspect", "unknown"), "no such file and no bundled model"),
    ],
)
def test_what_needs_a_home_says_so(command: tuple[str, ...], said: str) -> None:
    assert said in error_line(as_stranger(*command))


@only_root
def test_recordings_without_a_home_want_a_directory() -> None:
    command = ("--model", "posenet", "--source", CLIP, "--jsonl", "-")
    done = as_stranger(*command, EDGECAM_RECORDER_ENABLED="true")
    assert "recorder.directory: expected a directory" in error_line(done)
    assert done.stdout == ""


@only_root
def test_no_home_is_no_directory_of_its_own() -> None:
    code = (
        "from edgecam.inference import catalog, probe; print(catalog.pulled_directory(), "
        "probe.cache_directory({}), catalog.resolve('posenet'))"
    )
    done = subprocess.run(
        [*AS_STRANGER, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=bare(),
        check=True,
    )
    assert done.stdout.split() == ["None", "None", str(bundled.resolve("posenet"))]


def test_the_users_directories_by_environment_then_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert base_directory("XDG_X", "a", "b", environment={}) == tmp_path / "a" / "b"
    assert base_directory("XDG_X", "a", environment={"XDG_X": "/x"}) == Path("/x")
    assert probe.cache_directory({}) == tmp_path / ".cache" / "edgecam"
    assert probe.cache_directory({"CACHE_DIRECTORY": "/c/one:/c/two"}) == Path("/c/one")
    assert probe.cache_directory({"XDG_CACHE_HOME": "/c"}) == Path("/c/edgecam")


def test_a_tilde_is_a_home_unless_a_file_is_called_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.chdir(tmp_path)
    assert expanded("~/x", "key") == "/h/x"
    assert expanded("a/~/x/", "key") == "a/~/x/"
    with pytest.raises(SettingsError, match=r"key: ~nosuch/x: .* of a user 'nosuch', found none"):
        expanded("~nosuch/x", "key")
    (tmp_path / "~nosuch").mkdir()
    (tmp_path / "~nosuch" / "x").touch()
    assert expanded("~nosuch/x", "key") == "~nosuch/x"


SETTINGS = {
    "model.path": "~nosuch/x.tflite",
    "model.labels": "~nosuch/x.txt",
    "source.url": "~nosuch/x.mp4",
    "output.jsonl": "~nosuch/x.jsonl",
    "output.events_jsonl": "~nosuch/x.jsonl",
    "recorder.directory": "~nosuch/x",
    "mqtt.password_file": "~nosuch/x",
    "mqtt.ca_file": "~nosuch/x",
    "mqtt.certificate_file": "~nosuch/x",
    "mqtt.key_file": "~nosuch/x",
    "web.token_file": "~nosuch/x",
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_below_a_home_that_there_is_not_is_one_line(tmp_path: Path, key: str) -> None:
    values = {
        "model.path": "posenet",
        "source.url": str(CLIP),
        "recorder.enabled": "true",
        "web.listen": "127.0.0.1:0",
        "recorder.directory": str(tmp_path / "kept"),
    }
    if key.startswith("mqtt."):
        values |= {"mqtt.url": "mqtts://127.0.0.1:1", "mqtt.username": "eva"}
    if key == "mqtt.key_file":
        values["mqtt.certificate_file"] = str(CLIP)
    values[key] = SETTINGS[key]
    variables = {f"EDGECAM_{k.upper().replace('.', '_')}": v for k, v in values.items()}
    line = error_line(edgecam("--max-frames", "1", **variables))
    assert SETTINGS[key] in line
    assert "expected a home directory of a user 'nosuch', found none" in line


def test_the_daemon_starts_with_a_home_that_is_gone(tmp_path: Path) -> None:
    """As of a user whose home is mounted later."""
    gone = str(tmp_path / "gone")
    process = start(
        *("--model", "posenet", "--source", CLIP, "--max-frames", "1", "--jsonl", "-"), HOME=gone
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[0])["sequence"] == 0
