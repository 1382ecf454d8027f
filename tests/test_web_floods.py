"""Whoever sends without end is cut off, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from brokers import wait_until
from pages import LivePage
from viewers import handshake

from edgecam.sinks.web.rate_limits import BURST_BYTES, BYTES_PER_S, Allowances

FLOOD_S = 1.5
PING = bytes([0x89, 0x80, 0, 0, 0, 0])


def flood(page: LivePage, come_from: str, greeting: bytes, words: bytes) -> int:
    """Send these over and over for some seconds, anew when cut off; how often that happened."""
    ends_s, cuts = time.monotonic() + FLOOD_S, -1
    while time.monotonic() < ends_s:
        source, cuts = (come_from, 0), cuts + 1
        with (
            socket.create_connection(("127.0.0.1", page.port), 5, source) as client,
            contextlib.suppress(OSError),
        ):
            client.sendall(greeting)
            while time.monotonic() < ends_s:
                client.send(words * 50)
                # What was answered makes room.
                with contextlib.suppress(BlockingIOError):
                    client.recv(1 << 20, socket.MSG_DONTWAIT)
    return cuts


@pytest.mark.parametrize("kind", ["requests", "pings"])
def test_a_flood_is_cut_off_and_stalls_nobody(near: LivePage, kind: str) -> None:
    request = f"GET /healthz HTTP/1.1\r\nHost: {near.host}\r\n\r\n".encode()
    greeting, words = (b"", request) if kind == "requests" else (handshake(near.port), PING)
    address = "127.0.0.9" if kind == "requests" else "127.0.0.10"
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, near, address, greeting, words)
        time.sleep(FLOOD_S / 2)
        began_s = time.monotonic()
        assert near.ask("GET", "/healthz")[0] == 200
        assert time.monotonic() - began_s < 0.5
        assert flooding.result() > 1
    # Not for ever.
    assert wait_until(lambda: is_heard(near, address), 5)


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
