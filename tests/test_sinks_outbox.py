from __future__ import annotations

from edgecam.sinks.mqtt.outbox import Outbox, RecentResults, RetainedStates


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
