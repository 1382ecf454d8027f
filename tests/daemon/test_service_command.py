"""``edgecam service install`` and ``uninstall`` below a root of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from brokers import Mosquitto, free_port
from programs import ROOT, edgecam, environment, error_line

from edgecam.daemon import systemd_install, systemd_unit
from edgecam.settings.load import load, load_house

UNIT = "etc/systemd/system/edgecam@front.service"
CAMERA = ("--model", "posenet", "--source", "/dev/v4l/by-id/usb-cam")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc/systemd/system").mkdir(parents=True)
    (made / "etc/hostname").write_text("board\n")
    return made


def tree(root: Path) -> Mapping[str, bytes | None]:
    paths = sorted(root.rglob("*"))
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in paths}


def service(verb: str, root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return edgecam("service", verb, "front", "--root", root, *arguments)


def test_install_writes_a_unit_and_a_configuration_that_edgecam_reads(root: Path) -> None:
    done = service("install", root, *CAMERA, "--broker", "mqtt://broker", "--username", "eva")
    assert done.returncode == 0, done.stderr
    assert "systemctl enable --now edgecam@front" in done.stdout
    settings = load(root / "etc/edgecam/front.toml", {}, {})
    assert settings.name == "front"
    assert settings.source.url == "/dev/v4l/by-id/usb-cam"
    assert settings.source.wait
    assert settings.mqtt.url == "mqtt://broker"
    assert settings.mqtt.username == "eva"
    assert [model.path for model in settings.model] == ["posenet"]
    unit = (root / UNIT).read_text()
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    program = start.removeprefix("ExecStart=").split()
    assert program[-2:] == ["--config", "/etc/edgecam/%i.toml"]
    assert os.access(program[0], os.X_OK)
    assert not (root / f"{UNIT}.d").exists()


def test_install_writes_what_is_said_of_one_model(root: Path) -> None:
    models = ("--model", "posenet", "--model", "ssdlite:rate_hz=2:fit=stretch")
    done = service("install", root, *models, "--source", "0")
    assert done.returncode == 0, done.stderr
    settings = load(root / "etc/edgecam/front.toml", {}, {})
    assert [(m.path, m.rate_hz, m.fit) for m in settings.model] == [
        ("posenet", None, "auto"),
        ("ssdlite", 2.0, "stretch"),
    ]
    bad = service("install", root, "--model", "posenet:rate_hz=no", "--source", "0")
    assert "model.rate_hz" in error_line(bad)


def test_install_names_no_model_where_none_is_given(root: Path) -> None:
    done = service("install", root, "--source", "0")
    assert done.returncode == 0, done.stderr
    assert load(root / "etc/edgecam/front.toml", {}, {}).model == ()


def test_uninstall_leaves_nothing_behind(root: Path) -> None:
    before = tree(root)
    source = ("--source", "rtsp://eva:c4nary@cam/live")
    password = root.parent / "password"
    password.write_text("c4nary\n")
    assert service("install", root, *CAMERA, *source, "--password-file", password).returncode == 0
    # What systemd and the service add.
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "edgecam@front.service").symlink_to(f"/{UNIT}")
    probed = root / "var/cache/private/edgecam/front/probed"
    probed.mkdir(parents=True)
    (probed / "0123").touch()
    recordings = root / "var/lib/private/edgecam/front/recordings"
    recordings.mkdir(parents=True)
    (recordings / "20260101T000000Z-0123-0-fall.recording.gz").touch()
    (root / "var/lib/edgecam").mkdir()
    (root / "var/lib/edgecam/front").symlink_to("../private/edgecam/front")
    assert service("uninstall", root).returncode == 0
    (root / "etc/systemd/system/multi-user.target.wants").rmdir()
    for directory in ("var/cache/private", "var/cache", "var/lib/private", "var/lib", "var"):
        (root / directory).rmdir()
    assert tree(root) == before
    assert "no service 'front' is installed" in error_line(service("uninstall", root))


def test_two_instances_do_not_share_their_end(root: Path) -> None:
    assert service("install", root, *CAMERA).returncode == 0
    before = tree(root)
    assert edgecam("service", "install", "back", "--root", root, *CAMERA).returncode == 0
    assert edgecam("service", "uninstall", "back", "--root", root).returncode == 0
    assert tree(root) == before


def test_secrets_go_to_files_of_their_own(root: Path) -> None:
    url = 'rtsp://eva:c4n$`"\\ary@cam/live'
    password = root.parent / "password"
    password.write_text("c4nary-too\n")
    arguments = ("--source", url, "--password-file", password, "--username", "eva")
    done = service("install", root, "--model", "posenet", *arguments)
    assert done.returncode == 0, done.stderr
    assert "c4n" not in done.stdout + done.stderr
    secret = {"front.env", "front.password"}
    for path in (root / "etc").rglob("*"):
        if path.is_file():
            assert ("c4n" in path.read_text()) == (path.name in secret), path
            assert (path.stat().st_mode & 0o777) == (0o600 if path.name in secret else 0o644)
    # A shell reads double quotes as systemd does.
    command = f'. {root}/etc/edgecam/front.env; printf %s "$EDGECAM_SOURCE_URL"'
    read = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert read.stdout == url


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "nosuch"), "no such file and no bundled model"),
        (("--model", "posenet", "--broker", "mqtt://eva:c4nary@broker"), "mqtt.url"),
        (("--model", "posenet", "--password-file", "/nonexistent"), "/nonexistent"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    root: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = tree(root)
    line = error_line(service("install", root, "--source", "0", *arguments))
    assert words in line
    assert "c4nary" not in line
    assert tree(root) == before


def test_it_is_never_partial(root: Path) -> None:
    (root / "etc/edgecam").mkdir()
    (root / "etc/edgecam/front.toml").write_text("mine")
    before = tree(root)
    assert "front.toml exists already" in error_line(service("install", root, *CAMERA))
    assert tree(root) == before
    assert "cannot write" in error_line(service("install", root / "etc/hostname", *CAMERA))
    assert tree(root) == before


def test_without_permission_it_says_so(root: Path) -> None:
    """Root without the capability to override modes stands for a user who is not root."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to give root's rights away")
    (root / "etc/systemd/system").chmod(0o555)
    before = tree(root)
    capabilities = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    command += [sys.executable, "-m", "edgecam", "service", "install", "front"]
    done = subprocess.run(
        [*command, "--root", str(root), *CAMERA],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "run it as root" in error_line(done)
    assert tree(root) == before


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(("source", "limit"), [("0", 2.0), ("rtsp://cam/live", 1.5)])
def test_systemd_accepts_what_was_installed(root: Path, source: str, limit: float) -> None:
    model = root.parent / "a model.tflite"
    shutil.copy(ROOT / "models" / "posenet_mobilenet_v1_075_fp16.tflite", model)
    assert service("install", root, "--model", model, "--source", source).returncode == 0
    unit = root / UNIT
    if model.is_relative_to("/tmp"):
        # PrivateTmp= would hide it.
        lines = unit.read_text().splitlines()
        bound = next(line for line in lines if line.startswith("BindReadOnlyPaths="))
        assert str(model).replace(" ", "\\ ") in bound
    with (root / "etc/edgecam/front.toml").open("rb") as file:
        assert tomllib.load(file)["model"][0]["path"] == str(model)
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    command = ["systemd-analyze", "--no-pager", "security", "--offline=true"]
    command += [f"--threshold={limit * 10:.0f}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# A person's folder may be called so, and a unit's line be read twice: quotes, escapes, colons.
ODD_NAMES = (
    "bob's",
    'the "best"',
    "a:b:c",
    "back\\\\slash\\",
    "100%i %%",
    "two  blanks",
    "$HOME ;#=",
    "Tür",
)


def debugged(unit: Path) -> str:
    """The unit as systemd has understood it, every setting of it."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_every_odd_path_as_it_is(root: Path) -> None:
    if not root.is_relative_to("/tmp") and not root.is_relative_to("/var/tmp"):
        home = Path("/tmp") / f"edgecam-odd-{os.getpid()}"
    else:
        home = root.parent / "odd"
    models = [home / name / f"{name}.tflite" for name in ODD_NAMES]
    try:
        for model in models:
            model.parent.mkdir(parents=True)
            shutil.copy(ROOT / "models" / "posenet_mobilenet_v1_075_int8.tflite", model)
        arguments = [word for model in models for word in ("--model", model)]
        done = service("install", root, *arguments, "--source", "0")
        assert done.returncode == 0, done.stderr
        bound = re.findall(r"BindReadOnlyPaths: (.*):rbind", debugged(root / UNIT))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert {f"{model}:{model}" for model in models} <= set(bound)
    settings = load(root / "etc/edgecam/front.toml", {}, {})
    assert [model.path for model in settings.model] == [str(model) for model in models]


@pytest.mark.parametrize("name", ["a\nExecStartPre=touch b", "a\tb", "a\x1b[2Jb", "a\u2028b"])
def test_a_path_that_no_unit_can_name_is_refused(root: Path, name: str) -> None:
    model = Path("/tmp") / f"edgecam-{os.getpid()}" / f"{name}.tflite"
    model.parent.mkdir(exist_ok=True)
    before = tree(root)
    try:
        shutil.copy(ROOT / "models" / "posenet_mobilenet_v1_075_int8.tflite", model)
        line = error_line(service("install", root, "--model", model, "--source", "0"))
    finally:
        shutil.rmtree(model.parent)
    assert "rename it" in line
    assert tree(root) == before


@pytest.mark.parametrize("name", ["bob's venv", 'a"b', "a\\b", "a$b"])
def test_a_program_that_systemd_cannot_start_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(systemd_unit.sys, "executable", f"/opt/{name}/bin/python")
    with pytest.raises(systemd_unit.InstallationError, match="move the virtual environment"):
        systemd_install.planned(
            systemd_install.Layout(Path("/"), "front"), ["posenet"], {"source.url": "0"}, None
        )


def test_a_name_that_is_no_text_is_refused(root: Path) -> None:
    before = tree(root)
    odd = os.fsdecode(b"clip-\xff.mp4")
    assert "in UTF-8" in error_line(service("install", root, "--model", "posenet", "--source", odd))
    assert tree(root) == before


def test_uninstall_follows_no_link_that_the_service_has_made(root: Path) -> None:
    victim = root.parent / "victim"
    victim.mkdir()
    (victim / "passwd").write_text("root")
    (victim / "a.recording.gz").write_text("x")
    before = tree(victim)
    assert service("install", root, *CAMERA).returncode == 0
    cache, state = (root / f"var/{base}/private/edgecam/front" for base in ("cache", "lib"))
    for made in (cache, state):
        made.mkdir(parents=True)
        (made / "file").symlink_to(victim / "passwd")
        (made / "escape\x1b[2J").mkdir()
    (cache / "probed").symlink_to(victim)
    (state / "recordings").symlink_to(victim)
    (root / "var/lib/edgecam").mkdir()
    (root / "var/lib/edgecam/front").symlink_to(victim)
    done = service("uninstall", root)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert tree(victim) == before
    assert not cache.exists()
    assert not state.exists()
    assert not (root / "var/lib/edgecam").exists()


def test_uninstall_follows_no_link_above_the_services_directory(root: Path) -> None:
    victim = root.parent / "victim"
    (victim / "front").mkdir(parents=True)
    assert service("install", root, *CAMERA).returncode == 0
    (root / "var/cache/private").mkdir(parents=True)
    (root / "var/cache/private/edgecam").symlink_to(victim)
    assert "cannot remove" in error_line(service("uninstall", root))
    assert (victim / "front").is_dir()


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    source = ("--source", "rtsp://cam/user=eva_password=c4nary")
    kept = os.umask(umask)
    try:
        assert service("install", root, "--model", "posenet", *source).returncode == 0
    finally:
        os.umask(kept)
    for path in (root / "etc").rglob("*"):
        expected = 0o755 if path.is_dir() else 0o600 if path.suffix == ".env" else 0o644
        assert path.stat().st_mode & 0o777 == expected, path


def announced(make_mosquitto: Callable[..., Mosquitto], folder: Path) -> Mosquitto:
    """A broker that wants a login, with what two cameras have retained there."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("no mosquitto_passwd (Debian: apt install mosquitto)")
    users = folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "eva", "c4nary"], check=True)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {users}")
    broker.start()
    for topic in (*FRONTS, "edgecam/back/telemetry"):
        command = ["mosquitto_pub", "-p", str(broker.port), "-u", "eva", "-P", "c4nary", "-q", "1"]
        subprocess.run([*command, "-r", "-t", topic, "-m", "offline"], check=True)
    return broker


FRONTS = (
    "homeassistant/sensor/edgecam_front/fps/config",
    "homeassistant/event/edgecam_front/event/config",
    "edgecam/front/availability",
    "edgecam/front/telemetry",
)


def kept(broker: Mosquitto) -> set[str]:
    command = ["mosquitto_sub", "-p", str(broker.port), "-u", "eva", "-P", "c4nary", "-v"]
    done = subprocess.run(
        [*command, "-t", "#", "--retained-only", "-W", "2"], capture_output=True, text=True
    )
    return {line.partition(" ")[0] for line in done.stdout.splitlines()}


def test_uninstall_clears_what_it_announced_with_the_login_that_it_removes(
    root: Path, tmp_path: Path, make_mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = announced(make_mosquitto, tmp_path)
    (tmp_path / "password").write_text("c4nary\n")
    login = ("--broker", broker.url, "--username", "eva", "--password-file", tmp_path / "password")
    assert service("install", root, *CAMERA, *login).returncode == 0
    assert kept(broker) == {*FRONTS, "edgecam/back/telemetry"}
    done = service("uninstall", root, "--off-broker")
    assert done.returncode == 0, done.stderr
    assert "front: 4 retained messages cleared\n" in done.stdout
    assert "discovery --remove" not in done.stderr
    assert kept(broker) == {"edgecam/back/telemetry"}
    assert not (root / UNIT).exists()


def test_uninstall_removes_nothing_where_the_broker_is_away(root: Path) -> None:
    broker = ("--broker", f"mqtt://127.0.0.1:{free_port()}")
    assert service("install", root, *CAMERA, *broker).returncode == 0
    before = tree(root)
    line = error_line(service("uninstall", root, "--off-broker"))
    assert "; nothing was removed: try again, or leave out --off-broker" in line
    assert tree(root) == before
    done = service("uninstall", root)
    assert done.returncode == 0
    assert "edgecam discovery --remove --name front" in done.stderr
    assert not (root / UNIT).exists()


def test_a_settings_file_with_several_cameras_becomes_one_service(
    root: Path, tmp_path: Path
) -> None:
    config = tmp_path / "house.toml"
    config.write_text(
        '[[model]]\npath = "posenet"\n[[camera]]\nname = "front"\n'
        'source = "rtsp://eva:c4nary@front.local/live"\n[[camera]]\nname = "hall"\nsource = 0\n'
    )
    done = edgecam("service", "install", "house", "--config", config, "--root", root)
    assert done.returncode == 0, done.stderr
    settings = root / "etc/edgecam/house.toml"
    assert "c4nary" not in settings.read_text()
    # Root, who may read the file with the login beside it, sees what the service sees.
    front, hall = load_house([settings], {}, {}).cameras
    assert front.source.url == "rtsp://eva:c4nary@front.local/live"
    assert (hall.name, hall.source.url) == ("hall", "0")
    removed = edgecam("service", "uninstall", "house", "--root", root)
    assert removed.returncode == 0
    assert not settings.exists()
    both = ("--config", config, "--source", "1")
    refused = edgecam("service", "install", "x", *both, "--root", root)
    assert refused.returncode == 2
    assert "--source: expected it in" in refused.stderr
