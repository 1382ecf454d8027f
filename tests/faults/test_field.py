"""A whole daemon in the field: everything absent at its start, and stopped with much to tell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, free_port, retained, wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import edgecam

from tests.servers import Server

NAME = "broker-of-the-test.invalid"


@pytest.fixture
def private_hosts(tmp_path: Path) -> tuple[Path, list[str]]:
    """An /etc/hosts of our own, and what runs a command that sees it (a mount namespace)."""
    probe = ["unshare", "-m", "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a mount namespace of our own needs root and unshare")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    script = f'mount --bind "{hosts}" /etc/hosts && exec "$@"'
    return hosts, ["unshare", "-m", "sh", "-c", script, "sh"]


def test_camera_broker_and_its_name_absent_at_start_are_used_as_they_appear(
    make_mosquitto: Callable[..., Mosquitto],
    private_hosts: tuple[Path, list[str]],
    tmp_path: Path,
) -> None:
    hosts, prefix = private_hosts
    port = free_port()
    with Server("mjpeg.py") as camera:
        camera.tell("refuse")
        daemon = Daemon(
            tmp_path,
            *(*MODEL, "--name", "front", "--wait-for-source"),
            *("--source", f"http://127.0.0.1:{camera.port}/stream"),
            *("--broker", f"mqtt://{NAME}:{port}"),
            prefix=prefix,
        )
        try:
            daemon.wait_ready()
            time.sleep(2.0)
            with hosts.open("a") as stream:
                stream.write(f"127.0.0.1 {NAME}\n")
            time.sleep(1.0)
            broker = make_mosquitto(port=port)
            broker.start()
            subscriber = Subscriber(port).ready()
            subscriber.wait_for("edgecam/front/availability")
            assert wait_until(lambda: subscriber.last("edgecam/front/source") == b"offline", 2)
            camera.tell("good")
            subscriber.wait_for("edgecam/front/result")
            assert wait_until(lambda: subscriber.last("edgecam/front/source") == b"online", 1)

            # And the way back: what Home Assistant takes for the camera's availability.
            camera.tell("mute")
            assert wait_until(lambda: subscriber.last("edgecam/front/source") == b"offline", 6)
            report = json.loads(subscriber.last("edgecam/front/telemetry") or b"")
            assert report["source"]["state"] == "offline"
            assert report["source"]["reason"]
            subscriber.close()
        finally:
            daemon.close()


def written_bytes(pid: int | str) -> int:
    """What a process has given to a disk so far (proc(5), ``write_bytes``)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def test_a_running_daemon_writes_nothing_to_disk(mosquitto: Mosquitto, tmp_path: Path) -> None:
    before = written_bytes("self")
    with (tmp_path / "control").open("wb") as control:
        control.write(bytes(4096))
        control.flush()
        os.fsync(control.fileno())
    if written_bytes("self") == before:
        pytest.skip("the kernel does not count what is written below the test's folder")
    folders = {key: str(tmp_path) for key in ("HOME", "EDGECAM_CACHE_DIR", "TMPDIR")}
    events = ("--web", f"127.0.0.1:{free_port()}", "--broker", mosquitto.url)
    daemon = Daemon(tmp_path, *MODEL, *LOOPED, *events, **folders)
    try:
        daemon.wait_ready()
        time.sleep(3.0)
        settled, lines = written_bytes(daemon.process.pid), daemon.log
        time.sleep(12.0)
        assert written_bytes(daemon.process.pid) == settled
        assert daemon.log == lines
    finally:
        daemon.close()


def test_a_stop_with_500_events_waiting_delivers_them_all(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    """Sixty zones over the whole picture tell of everybody who comes, sixty times."""
    config = tmp_path / "front.toml"
    everywhere = "polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\nenter_s = 0.0\ndwell_s = 0.5\n"
    zones = "".join(f'[[zone]]\nname = "zone{n}"\n{everywhere}' for n in range(60))
    config.write_text(f'name = "front"\n{zones}[homeassistant]\nenabled = false\n')
    daemon = Daemon(tmp_path, "--config", config, *MODEL, *LOOPED, "--broker", mosquitto.url)
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    event, availability = "edgecam/front/event", "edgecam/front/availability"

    def waiting() -> int:
        (status,) = json.loads(edgecam("status", "front", "--json", **runtime).stdout)
        return int(status["telemetry"]["mqtt"]["outbox_messages"])

    try:
        daemon.wait_ready()
        subscriber.wait_for(availability)
        mosquitto.send(signal.SIGSTOP)
        assert wait_until(lambda: waiting() >= 500, 30), daemon.log
        reported, left = len(subscriber.of(event)), waiting()
        mosquitto.send(signal.SIGCONT)
        code, _ = daemon.stop()
        delivered = len(subscriber.wait_for(availability, 2)) and subscriber.of(event)
        numbers = [json.loads(m.payload)["sequence"] for m in delivered]
        assert code == 0
        assert "undelivered" not in daemon.log
        # What the broker had taken and not yet acknowledged is in both numbers.
        assert len(numbers) >= reported + left - 20
        once = list(dict.fromkeys(numbers))
        assert once == [*range(once[0], once[0] + len(once))]
        assert retained(mosquitto.port)[availability] == b"offline"
    finally:
        mosquitto.send(signal.SIGCONT)
        daemon.close()
