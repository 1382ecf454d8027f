"""Canary passwords through every failure at DEBUG: the one they are for alone sees them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from brokers import Mosquitto, Subscriber, free_port, wait_until
from daemons import Daemon
from programs import edgecam

# With characters that a URL, a shell and a regular expression give a meaning to.
CANARY = "c4n4ry/@%41"
QUOTED = quote(CANARY, safe="")
BIRD = "c4n4ry"
TAIL_S = 4.0


@pytest.fixture
def camera() -> Iterator[Callable[[str], int]]:
    """Makes an MJPEG camera in a mode of tests/servers/mjpeg.py; returns its port."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str) -> int:
        server = Path(__file__).parents[1] / "servers" / "mjpeg.py"
        process = subprocess.Popen(
            [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        process.stdin.write(f"{mode}\n")
        process.stdin.flush()
        process.stdout.readline()
        return port

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def make_strict(make_mosquitto: Callable[..., Mosquitto]) -> Callable[[Path], Mosquitto]:
    """Starts brokers that let ``eva`` in with the canary, and everybody read."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("needs mosquitto_passwd (Debian: apt install mosquitto)")

    def make(folder: Path) -> Mosquitto:
        passwords = folder / "passwords"
        command = ["mosquitto_passwd", "-b", "-c", str(passwords), "eva", CANARY]
        subprocess.run(command, check=True, capture_output=True)
        passwords.chmod(0o644)
        broker = make_mosquitto(f"allow_anonymous true\npassword_file {passwords}")
        broker.start()
        return broker

    return make


def command_lines(pid: int) -> str:
    """Of the process and whatever it has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if pid in (int(entry.name), parent):
                found.append((entry / "cmdline").read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


class Watcher:
    """Reads the command lines of a daemon over and over."""

    def __init__(self, pid: int) -> None:
        self.seen = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def _watch(self, pid: int) -> None:
        while not self._done.wait(0.05):
            self.seen += command_lines(pid)

    def close(self) -> str:
        self._done.set()
        self._thread.join()
        return self.seen


def configuration(folder: Path, url: str, broker: str, password: str = CANARY) -> Path:
    secret = folder / "password"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    path = folder / "front.toml"
    path.write_text(
        f"name = 'front'\nmodel = [{{path = 'posenet'}}]\n"
        f"[source]\nurl = '{url}'\nwait = true\n[inference]\nthreads = 1\n"
        f"[mqtt]\nurl = '{broker}'\nusername = 'eva'\npassword_file = '{secret}'\n"
    )
    return path


def mute() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


FAULTS = ("rtsp refused", "rtsp mute", "refuse", "mute", "page", "garbage", "digest")


def test_a_failing_camera_and_broker_tell_no_password(
    camera: Callable[[str], int], make_strict: Callable[[Path], Mosquitto], tmp_path: Path
) -> None:
    """Every fault beside the others, for they mostly wait."""
    folders = {fault: tmp_path / fault.replace(" ", "-") for fault in FAULTS}
    for folder in folders.values():
        folder.mkdir()
    brokers = {fault: make_strict(folder) for fault, folder in folders.items()}
    with ThreadPoolExecutor(len(FAULTS)) as together:
        runs = {
            fault: together.submit(live_through, fault, camera, brokers[fault], folder)
            for fault, folder in folders.items()
        }
    for fault, run in runs.items():
        for text in run.result():
            reported = [line for line in text.splitlines() if BIRD in line]
            assert not reported, f"{fault}: {reported[0]}"


def live_through(
    fault: str, camera: Callable[[str], int], broker: Mosquitto, folder: Path
) -> list[str]:
    """All that is said where a camera has ``fault``, the broker goes and a bad setting comes."""
    subscriber = Subscriber(broker.port).ready()
    silent = mute()
    login = f"eva:{QUOTED}@127.0.0.1"
    url = {
        "rtsp refused": lambda: f"rtsp://{login}:{free_port()}/live?pwd={QUOTED}",
        "rtsp mute": lambda: (
            f"rtsp://{login}:{silent.getsockname()[1]}/"
            f"user=eva_password={QUOTED}_channel=1_stream=0.sdp"
        ),
        "digest": lambda: f"http://{login}:{camera('good')}/digest",
    }.get(
        fault, lambda: f"http://{login}:{camera(fault)}/stream?usr=eva&psw={QUOTED}#key={QUOTED}"
    )()
    config = configuration(folder, url, broker.url)
    daemon = Daemon(folder, "--verbose", "--config", config, EDGECAM_CACHE_DIR=str(folder))
    watcher = Watcher(daemon.process.pid)
    reported = []
    try:
        daemon.wait_ready()
        assert wait_until(lambda: subscriber.of("edgecam/front/availability"))
        time.sleep(TAIL_S / 2)
        broker.kill()
        # Neither the right type nor the right shape, with the secret in it.
        config.write_text(config.read_text().replace("wait = true", f"wait = '{url}'"))
        daemon.send(signal.SIGHUP)
        daemon.wait_log("refused, the old one goes on")
        broker.start()
        back_s = time.monotonic()
        status = edgecam("status", "--json", XDG_RUNTIME_DIR=str(folder))
        assert status.returncode in (0, 1)
        reported = [status.stdout + status.stderr]
        done = edgecam("doctor", "source", "broker", "--json", "--config", config)
        reported.append(done.stdout + done.stderr)
        time.sleep(max(0.0, back_s + TAIL_S / 2 - time.monotonic()))
        assert daemon.stop()[0] == 0
    finally:
        daemon.close()
        reported.append(watcher.close())
        subscriber.close()
        silent.close()
    reported += [daemon.log, *(f"{m.topic} {m.payload!r}" for m in subscriber.messages)]
    assert "edgecam" in reported[2], "the command lines were read"
    assert len(subscriber.messages) > 2
    return reported


def test_a_login_that_is_refused_tells_no_password(
    make_strict: Callable[[Path], Mosquitto], tmp_path: Path
) -> None:
    broker = make_strict(tmp_path)
    url = f"http://eva:{QUOTED}@127.0.0.1:{free_port()}/x"
    config = configuration(tmp_path, url, broker.url, f"{CANARY}-wrong")
    daemon = Daemon(tmp_path, "--verbose", "--config", config)
    try:
        daemon.wait_log("login refused")
        stopped = daemon.stop()
        assert stopped[0] == 0, (stopped, daemon.log)
        assert BIRD not in daemon.log
    finally:
        daemon.close()


@pytest.mark.parametrize(
    "body",
    [
        "[source]\nurl = ['rtsp://eva:{0}@cam/live']\n",
        "[source]\nurl = 'sftp://eva:{0}@cam/live'\n",
        "[source]\nurl = 'rtsp://eva:{0}@cam:nine/live'\n",
        "[source]\nurls = 'rtsp://eva:{0}@cam/live'\n",
        "[mqtt]\nurl = 'mqtt://eva:{0}@broker'\n",
        "[mqtt]\npassword = '{0}'\n",
        "[mqtt]\nusername = 'eva'\npassword_file = 5 # {0}\n",
        "[source]\nurl = 'rtsp://eva:{0}@cam/live\n",
    ],
)
def test_a_refused_configuration_tells_no_password(tmp_path: Path, body: str) -> None:
    config = tmp_path / "front.toml"
    config.write_text("model = [{path = 'posenet'}]\n" + body.replace("{0}", CANARY))
    done = edgecam("--verbose", "--config", config, timeout_s=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert BIRD not in done.stdout + done.stderr
