"""``edgecam frames`` on its shelf: whether it is there, and what ends it where it hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from brokers import Mosquitto, Subscriber, wait_until
from daemons import LOOPED, Daemon
from programs import environment

WORD = "edgecam/front/frame/availability"


def words(port: int) -> list[tuple[bytes, bool]]:
    """What the broker retains of it."""
    late = Subscriber(port, WORD).ready()
    found = [(each.payload, each.retained) for each in late.wait_for(WORD)]
    late.close()
    return found


def test_it_is_online_while_it_runs_and_offline_afterwards(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, "frames", *LOOPED, "-b", mosquitto.url, "-n", "front")
    try:
        daemon.wait_ready()
        subscriber.wait_for("edgecam/front/frame", 2, 30)
        assert words(mosquitto.port) == [(b"online", True)]
        assert wait_until(lambda: daemon.supervisor.of("WATCHDOG=1"), 30)
        assert daemon.stop()[0] == 0
        assert daemon.supervisor.of("STOPPING=1")
        assert words(mosquitto.port) == [(b"offline", True)]
        assert [each.payload for each in subscriber.wait_for(WORD, 2)] == [b"online", b"offline"]
    finally:
        daemon.close()


def test_the_broker_says_that_one_is_gone_which_was_killed(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, "frames", *LOOPED, "-b", mosquitto.url, "-n", "front")
    try:
        subscriber.wait_for(WORD, 1, 30)
        daemon.send(signal.SIGKILL)
        subscriber.wait_for(WORD, 2, 30)
        assert words(mosquitto.port) == [(b"offline", True)]
    finally:
        daemon.close()


# A camera whose driver never comes back.
HANGS = """
import time
from edgecam.sources.video import VideoFile

read = VideoFile._read
def hang_at_the_fifth(self):
    hang_at_the_fifth.reads = getattr(hang_at_the_fifth, "reads", 0) + 1
    if hang_at_the_fifth.reads == 5:
        time.sleep(1000)
    return read(self)

VideoFile._read = hang_at_the_fifth
from edgecam.__main__ import main
main()
"""


def test_one_that_hangs_in_its_camera_ends_by_its_own_watchdog(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    arguments = ("frames", *map(str, LOOPED), "-b", mosquitto.url, "-n", "front")
    done = subprocess.run(
        [sys.executable, "-c", HANGS, *arguments],
        env=environment(EDGECAM_WATCHDOG_S="4"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "capture: no progress for 2 s" in done.stderr
    assert subscriber.wait_for(WORD, 2, 30)[-1].payload == b"offline"
