"""A client that sends without end is cut off, and no other notices."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from brokers import wait_until
from pages import LivePage, live_page
from viewers import Watcher, handshake

from edgecam.sinks.web.rate_limits import BURST_BYTES, BYTES_PER_S, Allowances, max_connections

# It ends sooner, once it was cut off that often.
FLOOD_S = 60.0
CUTS = 2
PING = bytes([0x89, 0x80, 0, 0, 0, 0])


def flood(page: LivePage, come_from: str, greeting: bytes, words: bytes) -> int:
    """Send these over and over until that was cut off so many times, or for long; how often."""
    ends_s, cuts = time.monotonic() + FLOOD_S, -1
    while cuts < CUTS and time.monotonic() < ends_s:
        source, cuts = (come_from, 0), cuts + 1
        with (
            socket.create_connection(("127.0.0.1", page.port), 5, source) as client,
            contextlib.suppress(OSError),
        ):
            client.sendall(greeting)
            while time.monotonic() < ends_s:
                client.send(words * (8192 // len(words)))
                # What was answered makes room.
                with contextlib.suppress(BlockingIOError):
                    client.recv(1 << 20, socket.MSG_DONTWAIT)
    return cuts


@pytest.mark.parametrize("kind", ["requests", "pings"])
def test_a_flood_is_cut_off_and_others_are_answered(near: LivePage, kind: str) -> None:
    request = f"GET /healthz HTTP/1.1\r\nHost: {near.host}\r\n\r\n".encode()
    greeting, words = (b"", request) if kind == "requests" else (handshake(near.port), PING)
    address = "127.0.0.9" if kind == "requests" else "127.0.0.10"
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, near, address, greeting, words)
        answers = [near.ask("GET", "/healthz")[0]]
        while not flooding.done():
            answers.append(near.ask("GET", "/healthz")[0])
        assert set(answers) == {200}
        assert flooding.result() >= CUTS
    # Not without end.
    assert wait_until(lambda: is_heard(near, address), 30)


def test_who_is_in_stays_in_while_others_at_the_same_address_flood(near: LivePage) -> None:
    address = "127.0.0.11"
    request = f"POST /login HTTP/1.1\r\nHost: {near.host}\r\n\r\n".encode()
    with Watcher(near.port, address) as viewer:
        assert wait_until(lambda: viewer.pictures > 0, 30)
        assert flood(near, address, b"", request) >= CUTS
        seen = viewer.pictures
        assert wait_until(lambda: viewer.pictures > seen + 1, 30)
        assert not viewer.ended.is_set()
    assert wait_until(lambda: is_heard(near, address), 30)


def test_more_connections_than_descriptors_print_no_traceback(tmp_path: Path) -> None:
    few = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    with live_page(tmp_path, prefix=few) as page, contextlib.ExitStack() as held:
        for number in range(60):
            source = (f"127.0.1.{number % 8 + 1}", 0)
            held.enter_context(socket.create_connection(("127.0.0.1", page.port), 5, source))
        assert wait_until(lambda: is_heard(page, "127.0.2.1"), 20)
        assert "Traceback" not in page.daemon.log
        # The camera and the broker need some as well.
        assert "Too many open files" not in page.daemon.log


@pytest.mark.parametrize(
    ("files", "expected"), [(8, 2), (40, 10), (1024, 64), (resource.RLIM_INFINITY, 64)]
)
def test_the_page_takes_a_quarter_of_the_descriptors_at_most(
    monkeypatch: pytest.MonkeyPatch, files: int, expected: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    assert max_connections() == expected


def is_heard(page: LivePage, address: str) -> bool:
    try:
        return page.ask("GET", "/healthz", None, address)[0] == 200
    except OSError:
        return False


def test_what_was_sent_is_forgiven_with_time_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    allowances, now_s = Allowances(), [100.0]
    monkeypatch.setattr("edgecam.sinks.web.rate_limits.time.monotonic", lambda: now_s[0])
    assert allowances.grants("a", BURST_BYTES)
    assert not allowances.grants("a", 1)
    assert allowances.grants("b", 100)
    now_s[0] += 1.0
    assert allowances.grants("a", int(BYTES_PER_S) - 1)
    assert not allowances.grants("a", 1 << 30)
    now_s[0] += 1.0
    assert not allowances.grants("a", 1)
    now_s[0] += 1.0
    assert allowances.grants("a", 100)
    now_s[0] += BURST_BYTES / BYTES_PER_S + 1.0
    allowances.forget()
    assert allowances._debts == {}
