from __future__ import annotations

import math

import pytest

from edgecam.sinks.mqtt import outbox as outboxes
from edgecam.sinks.mqtt.outbox import Message, Outbox, RecentResults, RetainedStates


def filled(number: int, max_messages: int = 100, max_bytes: int = 10_000) -> Outbox:
    outbox = Outbox(max_messages, max_bytes)
    for i in range(number):
        outbox.put("t", b"%d" % i)
    return outbox


def taken(outbox: Outbox) -> list[int]:
    found = []
    while (message := outbox.take()) is not None:
        found.append(int(message.payload))
    return found


def test_order_survives_a_lost_connection_whatever_was_acknowledged() -> None:
    outbox = filled(6)
    first = [outbox.take() for _ in range(4)]
    assert first[1] is not None
    outbox.acknowledge(first[1])
    outbox.rewind()
    assert taken(outbox) == [0, 2, 3, 4, 5]
    assert len(outbox) == 5


def test_oldest_waiting_is_dropped_first_and_counted() -> None:
    outbox = filled(7, max_messages=5)
    assert outbox.dropped == 2
    assert taken(outbox) == [2, 3, 4, 5, 6]


def test_what_is_in_flight_is_not_dropped() -> None:
    outbox = filled(3, max_messages=3)
    assert outbox.take() is not None
    outbox.put("t", b"3")
    outbox.rewind()
    assert taken(outbox) == [0, 2, 3]


def test_the_newest_is_dropped_when_all_others_are_in_flight() -> None:
    outbox = filled(3, max_messages=3)
    for _ in range(3):
        assert outbox.take() is not None
    outbox.put("t", b"3")
    assert outbox.dropped == 1
    assert len(outbox) == 3
    outbox.rewind()
    assert taken(outbox) == [0, 1, 2]


def test_what_is_given_back_waits_in_its_old_place() -> None:
    outbox = filled(4)
    first, second = outbox.take(), outbox.take()
    assert first is not None
    assert second is not None
    outbox.give_back(second)
    outbox.give_back(first)
    outbox.give_back(first)
    assert len(outbox) == 4
    assert taken(outbox) == [0, 1, 2, 3]


def test_what_is_set_aside_waits_behind_all_others_and_is_still_bounded() -> None:
    outbox = filled(4, max_messages=4)
    first = outbox.take()
    assert first is not None
    outbox.set_aside(first)
    outbox.rewind()
    assert outbox.waiting == 3
    assert len(outbox) == 4
    assert taken(outbox) == [1, 2, 3]
    assert outbox.take_aside() == first
    assert outbox.take_aside() is None
    outbox.set_aside(first)
    outbox.rewind()
    outbox.put("t", b"4")
    assert outbox.dropped == 1
    assert taken(outbox) == [1, 2, 3, 4]


def test_an_event_that_is_dropped_counts_once() -> None:
    outbox = filled(2)
    first = outbox.take()
    assert first is not None
    outbox.drop(first)
    outbox.drop(first)
    assert outbox.dropped == 1
    assert len(outbox) == 1
    assert outbox.size_bytes == 2


def test_bytes_are_bounded_and_freed_on_acknowledgement() -> None:
    outbox = Outbox(1000, 100)
    for _ in range(10):
        outbox.put("t", b"x" * 29)
    assert outbox.size_bytes == 90
    assert outbox.dropped == 7
    for _ in range(3):
        message = outbox.take()
        assert message is not None
        outbox.acknowledge(message)
        outbox.acknowledge(message)
    assert outbox.size_bytes == 0
    outbox.put("t", b"kept")
    outbox.put("t", b"x" * 200)
    assert len(outbox) == 1
    assert outbox.dropped == 8


def test_states_keep_the_last_value_and_come_again() -> None:
    states = RetainedStates()
    assert states.put("a", b"1")
    assert states.put("b", b"1")
    assert states.put("a", b"2")
    assert not states.put("a", b"2")
    sent = [states.take(), states.take(), states.take()]
    assert [(m.topic, m.payload) for m in sent if m] == [("a", b"2"), ("b", b"1")]
    states.resend_all()
    assert len(states) == 2
    states.put("b", b"")
    cleared = [m for m in (states.take(), states.take()) if m and not m.payload]
    states.acknowledge(cleared[0])
    states.resend_all()
    assert [m.topic for m in [states.take()] if m] == ["a"]
    assert states.take() is None


def test_states_that_were_put_off_come_again_with_their_last_value() -> None:
    states = RetainedStates()
    states.put("a", b"1")
    first = states.take()
    assert first is not None
    states.put_off(first)
    assert len(states) == 0
    states.put("a", b"2")
    assert states.take() is not None
    states.resend_put_off()
    states.resend_put_off()
    assert [m.payload for m in (states.take(),) if m] == [b"2"]
    assert states.take() is None


def test_results_are_few_and_fresh() -> None:
    results = RecentResults(max_messages=3, max_bytes=100, max_age_s=1.0)
    for i in range(5):
        results.put("t", b"%d" % i, float(i))
    assert results.dropped == 2
    message = results.take(4.5)
    assert message is not None
    assert message.payload == b"4"
    assert results.dropped == 4
    results.put("t", b"x" * 500, 5.0)
    assert len(results) == 0
    results.put("t", b"5", 5.0)
    results.clear()
    assert results.take(5.0) is None
    assert results.dropped == 6


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The system's uptime, which a test sets."""
    time_s = [1000.0]
    monkeypatch.setattr(outboxes, "uptime_s", lambda: time_s[0])
    return time_s


def test_message_is_as_large_as_its_topic_and_payload() -> None:
    assert Message("topic", b"12").size_bytes == 7
    assert (Message("t", b"").number, Message("t", b"").since_s) == (0, 0.0)


def test_event_larger_than_the_outbox_is_dropped_alone() -> None:
    outbox = Outbox(10, 30)
    outbox.put("t", b"1" * 9)
    outbox.put("t", b"2" * 9)
    outbox.put("t", b"3" * 30)
    assert outbox.dropped == 1
    assert [message.payload[:1] for message in outbox.held()] == [b"1", b"2"]
    outbox.put("t", b"4" * 29)
    assert outbox.dropped == 3
    assert (outbox.size_bytes, len(outbox), outbox.waiting) == (30, 1, 1)


def test_outbox_is_full_at_its_bounds_and_not_before() -> None:
    outbox = Outbox(3, 100)
    for number in range(3):
        outbox.put("t", b"%d" % number)
    assert (outbox.dropped, len(outbox)) == (0, 3)
    outbox.put("t", b"3")
    assert (outbox.dropped, taken(outbox)) == (1, [1, 2, 3])
    exact = Outbox(100, 20)
    exact.put("t", b"1" * 9)
    exact.put("t", b"2" * 9)
    assert (exact.dropped, exact.size_bytes) == (0, 20)
    exact.put("t", b"")
    assert (exact.dropped, exact.size_bytes) == (1, 11)


def test_bytes_are_counted_through_every_way_out(now_s: list[float]) -> None:
    outbox = filled(5)
    messages = [outbox.take() for _ in range(4)]
    assert outbox.size_bytes == 10
    first, second, third, fourth = (message for message in messages if message is not None)
    outbox.acknowledge(first)
    assert outbox.size_bytes == 8
    outbox.drop(second)
    assert (outbox.size_bytes, outbox.dropped) == (6, 1)
    outbox.set_aside(third)
    outbox.set_aside(third)
    outbox.give_back(fourth)
    assert (outbox.size_bytes, len(outbox), outbox.waiting) == (6, 3, 2)
    assert [int(message.payload) for message in outbox.held()] == [2, 3, 4]
    assert taken(outbox) == [3, 4]
    # What goes out late is longer; what is counted is what was put.
    now_s[0] += 60.0
    late = outbox.take_aside()
    assert late is not None
    outbox.acknowledge(late)
    assert (outbox.size_bytes, len(outbox)) == (4, 2)
    outbox.lose()
    assert outbox.dropped == 2


def test_event_says_how_long_it_waited_and_is_kept_as_it_was(now_s: list[float]) -> None:
    outbox = Outbox(10, 1000)
    assert outbox.oldest_s is None
    outbox.put("t", b'{"a":1}')
    now_s[0] += 0.5
    outbox.put("t", b'{"a":2}')
    first = outbox.take()
    assert first is not None
    assert (first.topic, first.payload, first.number, first.since_s) == (
        *("t", b'{"a":1}', 0, 1000.0),
    )
    outbox.rewind()
    now_s[0] += 30.0
    assert outbox.oldest_s == 30.5
    late = outbox.take()
    assert late is not None
    assert (late.topic, late.payload, late.number, late.since_s) == (
        *("t", b'{"a":1,"delayed_s":30.5}', 0, 1000.0),
    )
    assert outbox.oldest_s == 30.5
    assert outbox.held()[0].payload == b'{"a":1}'
    outbox.acknowledge(late)
    assert outbox.oldest_s == 30.0


def test_events_of_an_earlier_run_come_before_all_others(now_s: list[float]) -> None:
    outbox = filled(2, max_messages=5)
    restored = outbox.restore("old", [(b'{"n":7}', 10.0), (b'{"n":8}', 20.0)])
    assert [(m.topic, m.payload, m.number, m.since_s) for m in restored] == [
        ("old", b'{"n":7}', -2, 10.0),
        ("old", b'{"n":8}', -1, 20.0),
    ]
    assert (outbox.size_bytes, outbox.oldest_s) == (24, now_s[0] - 10.0)
    again = outbox.restore("old", [(b'{"n":5}', -math.inf), (b'{"n":6}', 5.0)])
    # One too many: the oldest of them goes.
    assert [message.number for message in again] == [-4, -3]
    assert (outbox.dropped, len(outbox), outbox.size_bytes) == (1, 5, 34)
    for _ in range(2):
        assert [message.number for message in iter(outbox.take, None)] == [-3, -2, -1, 0, 1]
        outbox.rewind()
    unknown = Outbox(5, 100)
    unknown.restore("old", [(b"{}", -math.inf)])
    assert unknown.oldest_s is None


def test_oldest_is_dropped_first_whether_it_was_set_aside_or_not() -> None:
    outbox = filled(3, max_messages=3)
    first, second = outbox.take(), outbox.take()
    assert first is not None
    assert second is not None
    outbox.set_aside(second)
    outbox.give_back(first)
    outbox.put("t", b"3")
    assert taken(outbox) == [2, 3]
    outbox.rewind()
    outbox.put("t", b"4")
    assert outbox.take_aside() is None
    assert (outbox.dropped, taken(outbox)) == (2, [2, 3, 4])


def test_event_set_aside_is_dropped_where_all_others_are_in_flight() -> None:
    outbox = filled(2, max_messages=2)
    first, second = outbox.take(), outbox.take()
    assert first is not None
    outbox.set_aside(first)
    outbox.put("t", b"2")
    assert outbox.take_aside() is None
    assert (outbox.dropped, taken(outbox)) == (1, [2])
    assert second is not None
    outbox.rewind()
    assert taken(outbox) == [1, 2]


def test_state_that_was_cleared_is_forgotten_once_the_broker_has_it() -> None:
    states = RetainedStates()
    assert states.put("a", b"1")
    assert states.put("a", b"")
    cleared = states.take()
    assert cleared == Message("a", b"")
    assert not states.put("a", b"")
    states.acknowledge(Message("b", b""))
    states.acknowledge(Message("a", b"1"))
    assert not states.put("a", b"")
    states.acknowledge(cleared)
    assert states.put("a", b"")


def test_state_set_again_before_its_clearing_is_acknowledged_remains() -> None:
    states = RetainedStates()
    states.put("a", b"")
    cleared = states.take()
    assert cleared is not None
    states.put("a", b"2")
    states.acknowledge(cleared)
    states.resend_all()
    assert states.take() == Message("a", b"2")


def test_what_an_entity_is_comes_before_all_states() -> None:
    states = RetainedStates()
    for topic in ("b/state", "homeassistant/b/config", "a/state", "homeassistant/a/config"):
        states.put(topic, b"1")
    for _ in range(2):
        found = [message.topic for message in iter(states.take, None)]
        states.resend_all()
    assert found == ["homeassistant/b/config", "homeassistant/a/config", "b/state", "a/state"]


def test_results_are_bounded_in_number_bytes_and_age() -> None:
    results = RecentResults(max_messages=2, max_bytes=20, max_age_s=1.0)
    results.put("t", b"1" * 9, 0.0)
    results.put("t", b"2" * 9, 0.0)
    assert (len(results), results.dropped) == (2, 0)
    results.put("t", b"3", 0.5)
    assert (len(results), results.dropped) == (2, 1)
    results.put("t", b"4" * 17, 0.5)
    assert (len(results), results.dropped) == (2, 2)
    # A second old is fresh, more is not.
    assert results.take(1.5) == Message("t", b"3")
    assert results.take(1.501) is None
    assert (len(results), results.dropped) == (0, 3)
    results.put("t", b"5" * 19, 2.0)
    results.clear()
    assert results.dropped == 4
    results.put("t", b"6" * 19, 2.0)
    assert (len(results), results.dropped) == (1, 4)
    results.drop()
    assert results.dropped == 5
