"""Fairness of the turns of cameras that share models, on a clock of our own."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from edgecam.pipeline.turns import BOOST, FairShare, Turns

# A camera of this simulation: when its next frame is there after a turn that ended at a time.
Ready = Callable[[float], float]


def always(now_s: float) -> float:
    return now_s


def simulated(
    seconds: float,
    ready: Mapping[str, Ready],
    cost_s: Mapping[str, Callable[[int], float]],
    weight: Mapping[str, float] | None = None,
) -> tuple[Counter[str], Counter[str]]:
    """Turns and seconds that each camera got of one interpreter."""
    share, now_s = FairShare(), 0.0
    turns: Counter[str] = Counter()
    used_s: Counter[str] = Counter()
    at_s = dict.fromkeys(ready, 0.0)
    waiting: list[str] = []
    while now_s < seconds:
        for camera, due_s in at_s.items():
            if camera not in waiting and due_s <= now_s:
                share.asks(camera)
                waiting.append(camera)
        if not waiting:
            now_s = min(at_s.values())
            continue
        camera = str(share.next(waiting))
        waiting.remove(camera)
        took_s = cost_s[camera](turns[camera])
        now_s += took_s
        share.used(camera, took_s, (weight or {}).get(camera, 1.0))
        turns[camera] += 1
        used_s[camera] += took_s  # type: ignore[assignment]
        at_s[camera] = ready[camera](now_s)
    return turns, used_s


FOUR = ("front", "hall", "yard", "attic")


def steady(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def test_four_equal_cameras_get_equal_rates() -> None:
    # Invokes that differ as on a busy machine, the same for all of them.
    noise = (0.05, 0.06, 0.05, 0.11, 0.05, 0.04, 0.07)
    costs = {name: lambda n, k=k: noise[(n + k) % 7] for k, name in enumerate(FOUR)}
    turns, _ = simulated(120.0, dict.fromkeys(FOUR, always), costs)
    assert min(turns.values()) >= 0.9 * max(turns.values())


def test_a_camera_that_hangs_costs_the_others_nothing() -> None:
    ready: dict[str, Ready] = dict.fromkeys(FOUR, always)
    alone, _ = simulated(60.0, dict.fromkeys(FOUR[:3], always), dict.fromkeys(FOUR, steady(0.05)))
    turns, _ = simulated(60.0, {**ready, "attic": lambda _: 1e9}, dict.fromkeys(FOUR, steady(0.05)))
    assert turns["attic"] == 1
    assert all(turns[name] >= alone[name] - 1 for name in FOUR[:3])


def test_a_camera_that_comes_back_has_saved_nothing_up() -> None:
    back_s = iter((30.0,))
    ready: dict[str, Ready] = {"front": always, "hall": lambda now_s: next(back_s, now_s)}
    turns, _ = simulated(60.0, ready, dict.fromkeys(ready, steady(0.1)))
    assert turns["front"] + turns["hall"] == pytest.approx(600, abs=1)
    # Of the half that both want each gets a half.
    assert turns["hall"] == pytest.approx(150, abs=3)


def test_a_camera_whose_turns_take_longer_gets_fewer_of_them() -> None:
    costs = {**dict.fromkeys(FOUR, steady(0.05)), "attic": steady(0.4)}
    turns, used_s = simulated(60.0, dict.fromkeys(FOUR, always), costs)
    assert max(used_s.values()) - min(used_s.values()) <= 0.5
    assert turns["attic"] == pytest.approx(turns["front"] / 8, abs=2)


def test_priority_is_a_share_of_the_time() -> None:
    costs = dict.fromkeys(FOUR, steady(0.05))
    turns, _ = simulated(60.0, dict.fromkeys(FOUR, always), costs, {"hall": 2.0})
    assert turns["hall"] == pytest.approx(2 * turns["front"], abs=2)


def test_a_slow_camera_gets_all_that_it_asks_for_and_the_others_the_rest() -> None:
    ready: dict[str, Ready] = {**dict.fromkeys(FOUR, always), "attic": lambda now_s: now_s + 0.95}
    turns, _ = simulated(60.0, ready, dict.fromkeys(FOUR, steady(0.05)))
    assert turns["attic"] >= 50
    assert turns["front"] + turns["hall"] + turns["yard"] >= 1200 - 62


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_boosted_camera_gets_more_turns_even_beside_one_other() -> None:
    clock = Clock()
    turns = Turns(clock)
    cameras = {name: turns.of_camera() for name in ("front", "hall")}
    cameras["hall"].is_boosted = True
    order: list[str] = []
    rounds = 100

    def work(name: str) -> None:
        while cameras[name].take(lambda: len(order) < rounds):
            # Until the other one waits, or it is no matter of due times.
            while not turns.waiting and len(order) < rounds:
                time.sleep(0)
            order.append(name)
            clock.now_s += 0.1
            cameras[name].give_back(asks_again=len(order) < rounds)
            if len(order) >= rounds:
                break
        cameras[name].leave()

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in cameras]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    got = Counter(order)
    assert got["hall"] == pytest.approx(BOOST * got["front"], abs=2 * BOOST)


def test_a_camera_that_leaves_holds_no_turn_that_it_asked_for() -> None:
    turns = Turns()
    first, second = turns.of_camera(), turns.of_camera()
    assert first.take(lambda: True)
    first.give_back(asks_again=True)
    assert first.is_held
    first.leave()
    assert second.take(lambda: False)
    second.give_back()


def test_a_wait_that_is_called_off_leaves_the_turn_to_others() -> None:
    turns = Turns()
    first, second, third = (turns.of_camera() for _ in range(3))
    assert first.take(lambda: True)
    assert not second.take(lambda: False)
    assert not turns.waiting
    first.give_back()
    assert third.take(lambda: True)
    assert third.is_held
    third.give_back()
    assert turns.holder is None
