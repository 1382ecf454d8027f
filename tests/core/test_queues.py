import threading
import time

import pytest

from edgecam.core.queues import Finished, Latest, Queue


def test_latest_keeps_the_newest_and_counts_what_it_drops() -> None:
    slot: Latest[int] = Latest()
    displaced = [slot.put(number) for number in range(5)]
    assert displaced == [None, 0, 1, 2, 3]
    assert slot.get(0.0) == 4
    assert slot.dropped == 4
    assert slot.get(0.01) is None


def test_queue_keeps_every_item_in_order_and_makes_the_producer_wait() -> None:
    queue: Queue[int] = Queue(2)
    reached = []

    def produce() -> None:
        for number in range(20):
            queue.put(number)
            reached.append(number)
        queue.finish()

    producer = threading.Thread(target=produce)
    producer.start()
    time.sleep(0.05)
    assert reached == [0, 1]
    found = [queue.get(1.0) for _ in range(20)]
    with pytest.raises(Finished):
        queue.get(1.0)
    producer.join()
    assert found == list(range(20))


@pytest.mark.parametrize("slot", [Latest(), Queue(1)])
def test_what_is_inside_is_got_after_finish_but_not_after_abort(slot: Queue[int]) -> None:
    slot.put(1)
    slot.finish()
    assert slot.get(0.0) == 1
    with pytest.raises(Finished):
        slot.get(0.0)
    assert slot.put(2) == 2


def test_abort_wakes_both_sides() -> None:
    queue: Queue[int] = Queue(1)
    queue.put(1)
    outcome: list[int | None] = []
    producer = threading.Thread(target=lambda: outcome.append(queue.put(2)))
    producer.start()
    time.sleep(0.02)
    queue.abort()
    producer.join(60.0)
    assert outcome == [2]
    with pytest.raises(Finished):
        queue.get(1.0)
