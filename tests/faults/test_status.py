"""``edgecam status`` of instances that are well, degraded, stopped and dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from brokers import free_port, wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import edgecam, error_line

from edgecam.daemon import status_socket as status
from edgecam.daemon.status_socket import Status, StatusServer

STRANGER = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # As long as a socket's path may not be.
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    return deep


def test_status_and_its_exit_code_say_how_an_instance_is(folder: Path, tmp_path: Path) -> None:
    runtime = {"XDG_RUNTIME_DIR": str(folder)}
    assert edgecam("status", **runtime).returncode == 3
    (tmp_path / "well").mkdir()
    (tmp_path / "ill").mkdir()
    well = Daemon(tmp_path / "well", *MODEL, *LOOPED, "--name", "well", **runtime)
    lost = ("--source", f"http://127.0.0.1:{free_port()}/x", "--wait-for-source")
    ill = Daemon(tmp_path / "ill", *MODEL, *lost, "--name", "ill", **runtime)
    try:
        well.wait_ready()
        ill.wait_ready()
        assert wait_until(lambda: edgecam("status", "well", **runtime).returncode == 0)
        done = edgecam("status", "ill", "--json", **runtime)
        assert done.returncode == 1
        (status,) = json.loads(done.stdout)
        assert status["pid"] == ill.process.pid
        assert "source offline: " in status["faults"][0]
        assert status["telemetry"]["source"]["state"] == "offline"
        done = edgecam("status", **runtime)
        assert done.returncode == 1
        assert [line.split(";")[0] for line in done.stdout.splitlines()][1] == "well: healthy"

        second = edgecam(*MODEL, *LOOPED, "--name", "well", "--max-frames", "1", **runtime)
        assert "another edgecam named 'well' is running" in second.stderr
        assert edgecam("status", "well", **runtime).returncode == 0

        well.send(signal.SIGSTOP)
        done = edgecam("status", "well", **runtime)
        assert (done.returncode, "does not answer" in done.stdout) == (1, True)
        well.send(signal.SIGCONT)
        ill.process.kill()
        ill.process.wait()
        done = edgecam("status", "ill", **runtime)
        assert (done.returncode, done.stderr) == (3, "ill: not running\n")
        assert well.stop()[0] == 0
        assert not list(folder.glob("**/well.status"))
        assert edgecam("status", **runtime).returncode == 3
    finally:
        well.close()
        ill.close()


def test_without_a_runtime_directory_it_is_where_temporary_files_are(tmp_path: Path) -> None:
    own = f"edgecam-{os.getuid()}"
    assert status.directory({"TMPDIR": str(tmp_path)}) == tmp_path / own
    for useless in ("", "relative", str(tmp_path / "gone")):
        assert status.directory({"TMPDIR": useless}) == Path("/tmp") / own
    assert not (tmp_path / "gone").exists()


def healthy() -> Status:
    return Status(name="front", pid=1, faults=())


def anybody_writes(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def another_users(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory away")
    place.mkdir()
    os.chown(place, STRANGER, STRANGER)


def a_link(place: Path) -> None:
    elsewhere = place.with_name("elsewhere")
    elsewhere.mkdir()
    place.symlink_to(elsewhere)


def a_link_to_nothing(place: Path) -> None:
    place.symlink_to(place.with_name("nothing"))


def a_file(place: Path) -> None:
    place.touch()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (anybody_writes, "others may write (mode 777)"),
        (another_users, f"one of user {STRANGER}"),
        (a_link, "found a link"),
        (a_link_to_nothing, "found a link"),
        (a_file, "found no directory"),
    ],
)
def test_a_directory_that_others_have_a_hand_in_is_refused_in_one_line(
    tmp_path: Path, prepare: Callable[[Path], None], words: str
) -> None:
    place = tmp_path / "edgecam"
    prepare(place)
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = edgecam(*MODEL, *LOOPED, "--max-frames", "1", "--name", "front", **runtime)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "edgecam status" in line]
    assert words in line
    found = [path for path in tmp_path.rglob("*") if path != place]
    assert [path.name for path in found] == (["elsewhere"] if prepare is a_link else [])
    assert words in error_line(edgecam("status", **runtime))


def test_the_socket_is_for_everybody_and_its_directory_for_its_user(tmp_path: Path) -> None:
    kept = os.umask(0o077)
    try:
        server = StatusServer("front", tmp_path / "edgecam", healthy)
    finally:
        os.umask(kept)
    server.start()
    assert (tmp_path / "edgecam").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "edgecam/front.status").stat().st_mode & 0o777 == 0o666
    found, refused = status.running({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert healthy() in found
    assert refused is None
    server.close()
    assert not list((tmp_path / "edgecam").iterdir())


SWAP = """
import os, stat, sys, time
place, target = sys.argv[1:]
os.setgid(65534), os.setuid(65534)
os.mkdir(place)
os.chdir(place)
os.symlink(target, "evil")
print("ready", flush=True)
until_s = time.monotonic() + 20
while time.monotonic() < until_s:
    try:
        if stat.S_ISSOCK(os.lstat("front.status").st_mode):
            os.rename("evil", "front.status")
            break
    except FileNotFoundError:
        pass
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_another_user_who_swaps_the_socket_for_a_link_changes_no_mode(tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.touch(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder.stat().st_mode & 0o111 != 0o111:
            folder.chmod(folder.stat().st_mode | 0o111)
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    place = shared / "edgecam-0"
    # Given to another user, and after that even taken back: what is open is what was looked at.
    attacker = subprocess.Popen(
        [sys.executable, "-c", SWAP, str(place), str(target)], stdout=subprocess.PIPE
    )
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        for _ in range(50):
            with pytest.raises(PermissionError, match=f"one of user {STRANGER}"):
                StatusServer("front", place, healthy)
        assert os.listdir(place) == ["evil"]
        assert target.stat().st_mode & 0o777 == 0o600
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Callable[[bytes, float], None]]:
    """Answers on ``evil.status`` with a piece every so many seconds, until the test ends."""
    place = tmp_path / "edgecam"
    place.mkdir(mode=0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "evil.status"))
    listener.listen(5)
    done = threading.Event()

    def answer(piece: bytes, every_s: float) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.settimeout(1.0)
            while not done.is_set():
                try:
                    client.sendall(piece)
                except OSError:
                    break
                if every_s < 0:
                    break
                time.sleep(every_s)

    threads: list[threading.Thread] = []

    def start(piece: bytes, every_s: float) -> None:
        threads.append(threading.Thread(target=answer, args=(piece, every_s)))
        threads[0].start()

    yield start
    done.set()
    listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("piece", "every_s", "words"),
    [
        (b" ", 0.2, "does not answer"),
        (b" " * 65536, 0.0, "answers nothing that edgecam says"),
        (b"no JSON", -1.0, "answers nothing that edgecam says"),
        (b"[" * 100_000, -1.0, "answers nothing that edgecam says"),
        (b'{"name":"front","pid":1,"faults":3}', -1.0, "answers nothing that edgecam says"),
    ],
)
def test_an_answer_is_bounded_in_bytes_and_time(
    tmp_path: Path,
    impostor: Callable[[bytes, float], None],
    piece: bytes,
    every_s: float,
    words: str,
) -> None:
    impostor(piece, every_s)
    done = edgecam("status", "evil", XDG_RUNTIME_DIR=str(tmp_path), timeout_s=60)
    assert (done.returncode, done.stdout) == (1, f"evil: degraded: {words}\n")


def test_an_answer_is_printed_on_one_line_under_its_sockets_name(
    tmp_path: Path, impostor: Callable[[bytes, float], None]
) -> None:
    forged = Status(name="front\x1b[2J", pid=1, faults=("bad\nfront: healthy; 30.0 fps\x9b",))
    impostor(msgspec.json.encode(forged), -1.0)
    done = edgecam("status", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (
        1,
        "evil: degraded: bad?front: healthy; 30.0 fps?\n",
    )


def test_one_that_takes_no_connections_any_more_is_not_taken_for_stopped(tmp_path: Path) -> None:
    """Each look at a stuck instance leaves a connection in its queue, which is full some day."""
    (tmp_path / "edgecam").mkdir(mode=0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "edgecam/stuck.status"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as waits:
            waits.connect(str(tmp_path / "edgecam/stuck.status"))
            done = edgecam("status", "stuck", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "stuck: degraded: does not answer\n")
