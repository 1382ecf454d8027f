"""What ended a connection: found out where a broker does not say so, and no event lost over it."""

from __future__ import annotations

import pytest

from edgecam.sinks.mqtt import aside, suspects
from edgecam.sinks.mqtt.aside import Aside
from edgecam.sinks.mqtt.outbox import Message, Outbox
from edgecam.sinks.mqtt.suspects import DOUBT_S, FIRST_BAN_S, Suspects

BASE = "edgecam/front"
SNAPSHOT, RESULT = f"{BASE}/snapshot", f"{BASE}/result"


class Clock:
    """The monotonic clock, set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(suspects, "time", found)
    monkeypatch.setattr(aside, "time", found)
    return found


def ended(found: Suspects) -> bool:
    return found.ended(found.largest())


def prove(found: Suspects, topic: str, size_bytes: int) -> None:
    list(found.proved(found.wrote(topic, size_bytes)))


@pytest.mark.usefixtures("clock")
def test_the_largest_unproven_message_is_banned_the_second_time() -> None:
    found = Suspects(BASE)
    prove(found, RESULT, 9000)
    for is_banned in (False, True):
        found.begin()
        found.wrote(RESULT, 8000)
        found.wrote(SNAPSHOT, 30_000)
        found.wrote(f"{BASE}/state/paused", 1)
        assert found.allows(SNAPSHOT, 30_000)
        assert ended(found) is is_banned
    assert not found.allows(SNAPSHOT, 30_000)
    assert found.allows(SNAPSHOT, 29_999)
    assert found.allows(RESULT, 50_000)


@pytest.mark.usefixtures("clock")
def test_another_one_in_between_or_a_proof_begins_the_count_again() -> None:
    found = Suspects(BASE)
    for topic in (SNAPSHOT, RESULT, SNAPSHOT):
        found.begin()
        found.wrote(topic, 30_000)
        assert not ended(found)
    found.begin()
    prove(found, SNAPSHOT, 30_000)
    found.wrote(SNAPSHOT, 30_000)
    assert found.largest() is None
    assert not ended(found)
    assert found.allows(SNAPSHOT, 30_000)


@pytest.mark.usefixtures("clock")
def test_a_smaller_one_of_a_banned_kind_is_banned_at_once() -> None:
    found = Suspects(BASE)
    for _ in range(2):
        found.begin()
        found.wrote(SNAPSHOT, 30_000)
        ended(found)
    found.begin()
    found.wrote(SNAPSHOT, 25_000)
    assert ended(found)
    assert not found.allows(SNAPSHOT, 25_000)
    assert found.allows(SNAPSHOT, 24_000)


def test_a_ban_ends_after_its_time_and_the_next_lasts_longer(clock: Clock) -> None:
    found = Suspects(BASE)
    for _ in range(2):
        found.begin()
        found.wrote(SNAPSHOT, 30_000)
        ended(found)
    clock.now_s += FIRST_BAN_S
    assert found.allows(SNAPSHOT, 30_000)
    found.begin()
    found.wrote(SNAPSHOT, 30_000)
    assert ended(found)
    clock.now_s += FIRST_BAN_S
    assert not found.allows(SNAPSHOT, 30_000)
    clock.now_s += FIRST_BAN_S
    assert found.allows(SNAPSHOT, 30_000)
    prove(found, SNAPSHOT, 30_000)
    found.begin()
    assert found.allows(SNAPSHOT, 60_000)


@pytest.mark.usefixtures("clock")
def test_a_broker_that_goes_on_crashing_without_it_lifts_the_ban() -> None:
    found = Suspects(BASE)
    for _ in range(2):
        found.begin()
        found.wrote(RESULT, 300)
        ended(found)
    assert not found.allows(RESULT, 300)
    found.begin()
    ended(found)
    assert found.allows(RESULT, 300)


def test_a_broker_that_restarts_later_does_not_lift_the_ban(clock: Clock) -> None:
    found = Suspects(BASE)
    for _ in range(2):
        found.begin()
        found.wrote(SNAPSHOT, 30_000)
        ended(found)
    clock.now_s += DOUBT_S
    found.begin()
    ended(found)
    assert not found.allows(SNAPSHOT, 30_000)


def test_a_small_message_is_tried_again_after_a_minute_and_availability_is_never_banned(
    clock: Clock,
) -> None:
    found = Suspects(BASE)
    for _ in range(2):
        found.begin()
        found.wrote(f"{BASE}/state/paused", 1)
        found.wrote(f"{BASE}/availability", 6)
        ended(found)
    assert found.allows(f"{BASE}/availability", 6)
    assert not found.allows(f"{BASE}/state/paused", 1)
    clock.now_s += 60.0
    assert found.allows(f"{BASE}/state/paused", 1)


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        (f"{BASE}/event", f"{BASE}/event"),
        (f"{BASE}/count/person", f"{BASE}/count/#"),
        (f"{BASE}/zone/door/count/cat", f"{BASE}/zone/#"),
        ("homeassistant/sensor/edgecam_front/fps/config", "homeassistant/#"),
        ("edgecam/yard/result", "edgecam/yard/result"),
    ],
)
def test_topics_that_a_broker_treats_alike_are_one_kind(topic: str, kind: str) -> None:
    assert Suspects(BASE).kind(topic) == kind


def event_aside() -> tuple[Outbox, Aside, Message]:
    """An event that was alone in flight when two connections ended, and one behind it."""
    outbox = Outbox(10, 10_000)
    outbox.put("t", b"0")
    outbox.put("t", b"1")
    found = Aside(outbox)
    event = outbox.take()
    assert event is not None
    for strike in (1, 2):
        found.begin()
        assert found.blame(event) is (strike == 2)
        found.end([event])
        outbox.rewind()
        if strike == 1:
            assert outbox.take() == event
    return outbox, found, event


@pytest.mark.usefixtures("clock")
def test_an_event_is_set_aside_at_the_second_crash_and_never_dropped_for_two() -> None:
    outbox = event_aside()[0]
    assert outbox.dropped == 0
    assert len(outbox) == 2
    behind = outbox.take()
    assert behind is not None
    assert behind.payload == b"1"


@pytest.mark.usefixtures("clock")
def test_an_event_set_aside_goes_only_after_something_was_acknowledged() -> None:
    _, found, event = event_aside()
    found.begin()
    assert found.take() is None
    found.accepted(None)
    assert found.take() == event
    found.accepted(event)


def test_an_event_is_tried_ever_less_often_and_never_dropped(clock: Clock) -> None:
    outbox, found, event = event_aside()
    waits = []
    for _ in range(12):
        found.begin()
        assert found.take() is None
        found.accepted(None)
        began_s = clock.now_s
        while (taken := found.take()) is None:
            clock.now_s += 1.0
        waits.append(clock.now_s - began_s)
        # On a busy machine it says by now that it is late.
        assert taken.number == event.number
        assert not found.blame(event)
        found.end([event])
        outbox.rewind()
    assert waits[:4] == [0, 60, 120, 240]
    assert waits[-1] == 3600
    assert outbox.dropped == 0
    assert len(outbox) == 2


def test_three_events_in_a_row_mean_that_it_is_their_topic() -> None:
    outbox = Outbox(10, 10_000)
    found = Aside(outbox)
    for n in range(3):
        assert not found.are_all
        outbox.put("t", b"%d" % n)
        event = outbox.take()
        assert event is not None
        found.begin()
        assert not found.blame(event)
        assert found.blame(event)
        found.end([event])
    assert found.are_all
    found.accepted(event)
    assert not found.are_all


@pytest.mark.usefixtures("clock")
def test_a_broker_that_says_why_it_closes_needs_no_second_time() -> None:
    found = Suspects(BASE)
    found.begin()
    found.wrote(SNAPSHOT, 30_000)
    assert found.ended(found.largest(), is_certain=True)
    assert not found.allows(SNAPSHOT, 30_000)
