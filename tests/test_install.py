"""What installs edgecam besides pip: the Debian package, the container and the app."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from programs import ROOT

from edgecam.core.version import __version__

APP = ROOT / "contrib" / "homeassistant-app"


@pytest.fixture
def supervisor() -> Iterator[str]:
    """What Home Assistant's Supervisor answers an app that asks for its broker."""
    given = {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": "s3same"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_right = self.headers["Authorization"] == "Bearer t0ken"
            body = json.dumps({"result": "ok", "data": given}).encode() if is_right else b"no"
            self.send_response(200 if is_right and self.path == "/services/mqtt" else 403)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_app_hands_options_and_broker_to_edgecam(tmp_path: Path, supervisor: str) -> None:
    options = {"name": "hall", "source": "demo", "accuracy": "fast", "web_token": "w" * 20}
    (tmp_path / "options.json").write_text(json.dumps({**options, "settings_file": "hall.toml"}))
    (tmp_path / "hall.toml").write_text('title = "Hall"\n')
    # In edgecam's place, what it was started with.
    shown = tmp_path / "edgecam"
    shown.write_text('#!/bin/sh\necho "$@"\nenv\n')
    shown.chmod(0o755)
    done = subprocess.run(
        [sys.executable, APP / "run.py", "--check"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SUPERVISOR": supervisor,
            "SUPERVISOR_TOKEN": "t0ken",
            "APP_DATA": str(tmp_path),
            "APP_CONFIG": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    command, *rest = done.stdout.splitlines()
    assert command == f"--check --config {tmp_path / 'hall.toml'}"
    found = dict(line.split("=", 1) for line in rest if "=" in line)
    assert found["EDGECAM_MQTT_URL"] == "mqtt://core-mosquitto:1883"
    assert found["EDGECAM_NAME"] == "hall"
    assert "SUPERVISOR_TOKEN" not in found
    assert "s3same" not in done.stdout
    for name, text in (("MQTT_PASSWORD", "s3same"), ("WEB_TOKEN", "w" * 20)):
        file = Path(found[f"EDGECAM_{name}_FILE"])
        assert (file.read_text().strip(), file.stat().st_mode & 0o777) == (text, 0o600)
    # The real one takes all of it.
    known = {key: value for key, value in found.items() if key.startswith("EDGECAM_")}
    checked = subprocess.run(
        [sys.executable, "-m", "edgecam", "--check", "--config", tmp_path / "hall.toml"],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_versions_and_pythons_agree() -> None:
    assert f'version: "{__version__}"' in (APP / "config.yaml").read_text("utf-8")
    first = [
        (ROOT / "Containerfile").read_text("utf-8"),
        (APP / "Dockerfile").read_text("utf-8"),
    ]
    assert len({re.search(r"^FROM (\S+)$", text, re.MULTILINE)[1] for text in first}) == 1  # type: ignore[index]


def test_the_container_gets_every_file_that_a_wheel_is_made_of() -> None:
    copied = set(re.findall(r"^COPY (.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    included = {name.split("/")[0] for name in re.findall(r'^"([^"]+)" = "', project, re.MULTILINE)}
    assert names >= included | {"pyproject.toml", "README.md", "LICENSE", "LICENSES", "edgecam"}
    let_in = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    assert names == {line[1:] for line in let_in if line.startswith("!")}


@pytest.mark.long
def test_the_debian_package_is_whole(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("dpkg-deb or Debian's own Python is not there")
    if subprocess.run(["/usr/bin/python3", "-c", "import ensurepip"], check=False).returncode:
        pytest.skip("python3-venv is not installed")
    done = subprocess.run(
        [ROOT / "scripts" / "deb", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.deb")
    assert done.stdout.strip() == str(package)
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    for name in (
        "usr/bin/edgecam",
        "usr/lib/systemd/system/edgecam@.service",
        "usr/share/man/man1/edgecam.1.gz",
        "usr/share/man/man5/edgecam.toml.5.gz",
        "usr/share/bash-completion/completions/edgecam",
    ):
        assert os.path.lexists(root / name), name
    assert os.readlink(root / "usr/bin/edgecam") == "/opt/edgecam/bin/edgecam"
    assert (root / "opt/edgecam/bin/edgecam").read_text().startswith("#!/opt/edgecam/bin/python")
    said = subprocess.run(["dpkg-deb", "-I", package], capture_output=True, text=True, check=True)
    for words in (f"Version: {__version__}", "postinst", "prerm", "postrm", "libgl1"):
        assert words in said.stdout
