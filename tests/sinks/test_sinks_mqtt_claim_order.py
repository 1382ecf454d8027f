"""Several instances of one name, in every order in which a broker may pass their messages on."""

from __future__ import annotations

import itertools
import json
import random
from collections import deque

import msgspec
import pytest

from edgecam.sinks.mqtt.name_claim import (
    ANSWER_EVERY_S,
    ANSWER_S,
    FIRST_ANSWERS,
    FREE_S,
    YOUNG_S,
    Claim,
)

SUBSCRIBE = b"subscribe"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def message(kind: str, token: str, host: str = "elsewhere") -> bytes:
    return msgspec.json.encode({"kind": kind, "token": token, "host": host})


def claimed(clock: Clock) -> Claim:
    """A claim that has the name, and has had it for long."""
    claim = Claim("front", clock)
    claim.begin()
    claim.receive(claim.topic, claim.to_say.popleft(), False)
    clock.now_s += FREE_S
    assert not claim.settled(clock.now_s)
    claim.receive(claim.topic, claim.to_say.popleft(), False)
    assert claim.settled(clock.now_s)
    claim.win()
    clock.now_s += 2 * YOUNG_S
    return claim


class Instance:
    """One that connects, with what is on its way from and to it."""

    def __init__(self, clock: Clock) -> None:
        self.claim = Claim("front", clock)
        self.sent: deque[bytes] = deque()
        self.arriving: deque[bytes] = deque()
        self.began = self.subscribed = self.has_won = False

    def begin(self) -> None:
        self.began = True
        self.claim.begin()
        self.sent.append(SUBSCRIBE)

    def receive(self) -> None:
        payload = self.arriving.popleft()
        self.claim.receive(self.claim.topic, payload, False)
        if self.claim.other is not None:
            # It leaves; what it has sent arrives all the same.
            self.subscribed = False
            self.arriving.clear()

    def settle(self, now_s: float) -> None:
        if self.claim.settled(now_s) and self.claim.other is None and not self.has_won:
            self.has_won = True
            self.claim.win()

    @property
    def waits(self) -> bool:
        return self.began and not self.has_won and self.claim.other is None

    @property
    def stays(self) -> bool:
        return self.has_won and self.claim.other is None


class Passage:
    """A broker that hands every message to all in one order, each of whom reads it when it may."""

    def __init__(self, number: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._clock = Clock()
        self.instances = [Instance(self._clock) for _ in range(number)]

    def run(self) -> int:
        """How many stay."""
        while moves := [move for each in self.instances for move in self._moves(each)]:
            self._random.choice(moves)()
        return sum(each.stays for each in self.instances)

    def _moves(self, each: Instance) -> list:  # type: ignore[type-arg]
        claim, now_s = each.claim, self._clock.now_s
        while claim.to_say:
            each.sent.append(claim.to_say.popleft())
        if each.has_won and (answer := claim.answer(claim.answer_due_s)) is not None:
            each.sent.append(answer)
        moves = [] if each.began else [each.begin]
        if each.sent:
            moves.append(lambda: self._pass_on(each))
        if each.arriving:
            moves.append(each.receive)
        if each.waits and claim._took_s is None and claim._asked_s is not None:
            moves.append(lambda: each.settle(now_s + ANSWER_S))
        elif each.waits and claim._is_taken:
            moves.append(lambda: each.settle(now_s))
        return moves

    def _pass_on(self, sender: Instance) -> None:
        payload = sender.sent.popleft()
        if payload == SUBSCRIBE:
            sender.subscribed = sender.claim.other is None
            return
        for each in self.instances:
            if each.subscribed:
                each.arriving.append(payload)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
@pytest.mark.parametrize("rounds", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_exactly_one_has_the_name_in_whatever_order_messages_pass(number: int, rounds: int) -> None:
    failed = [seed for seed in range(rounds) if Passage(number, seed).run() != 1]
    assert failed == []


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_the_lowest_token_has_it_where_all_hear_all_asks_in_every_order(number: int) -> None:
    for order in itertools.permutations(range(number)):
        claims = [Claim("front", Clock()) for _ in range(number)]
        for claim in claims:
            claim.begin()
        asks = [claim.to_say.popleft() for claim in claims]
        for which in order:
            for claim in claims:
                claim.receive(claim.topic, asks[which], False)
        left = [claim for claim in claims if claim.other is None]
        tokens = [json.loads(ask)["token"] for ask in asks]
        assert left == [claims[tokens.index(min(tokens))]]


def test_an_owner_answers_one_that_asks_or_takes_whatever_its_token() -> None:
    clock = Clock()
    claim = claimed(clock)
    for kind, token in (("ask", "0"), ("take", "0"), ("ask", "z"), ("take", "z")):
        claim.receive(claim.topic, message(kind, token), False)
        answer = claim.answer(clock.now_s)
        assert answer is not None
        assert json.loads(answer)["kind"] == "here"
        assert claim.other is None
        clock.now_s += ANSWER_EVERY_S


def test_a_flood_of_asks_gets_an_answer_a_second_and_holds_no_memory() -> None:
    clock = Clock()
    claim = claimed(clock)
    answers = 0
    for number in range(20_000):
        claim.receive(claim.topic, message("ask", f"{number:x}"), False)
        answers += claim.answer(clock.now_s) is not None
        clock.now_s += 0.001
    assert answers == FIRST_ANSWERS + 20 - 1
    assert len(claim.to_say) == 0
    assert len(claim._heard) + len(claim._later) <= 200


def test_what_is_retained_says_nothing_and_is_to_be_cleared() -> None:
    claim = Claim("front", Clock())
    claim.begin()
    claim.receive(claim.topic, message("here", "x"), True)
    assert claim.other is None
    assert claim.is_littered
    claim.begin()
    claim.receive(claim.topic, b"", True)
    assert not claim.is_littered


def test_a_host_is_made_printable_and_short() -> None:
    claim = Claim("front", Clock())
    claim.begin()
    claim.receive(claim.topic, message("here", "x", "ghost\x1b[31m\nedgecam: all is well"), False)
    assert claim.other == "ghost?[31m?edgecam: all is well"
    claim.begin()
    claim.receive(claim.topic, message("here", "x", "h" * 300), False)
    assert claim.other == "h" * 64
    claim.begin()
    claim.receive(claim.topic, message("here", "x", "h" * 1000), False)
    assert claim.other is None


def test_one_that_hears_too_late_that_the_name_was_anothers_leaves() -> None:
    clock = Clock()
    claim = claimed(clock)
    clock.now_s -= 2 * YOUNG_S - 1.0
    claim.receive(claim.topic, message("here", "0"), False)
    assert claim.other == "elsewhere"


def test_of_two_that_asked_and_both_took_the_name_the_higher_token_ends_no_process() -> None:
    clock = Clock()
    claim = Claim("front", clock)
    claim.begin()
    claim.receive(claim.topic, claim.to_say.popleft(), False)
    claim.receive(claim.topic, message("ask", "z"), False)
    clock.now_s += FREE_S
    assert not claim.settled(clock.now_s)
    claim.receive(claim.topic, claim.to_say.popleft(), False)
    assert claim.settled(clock.now_s)
    claim.win()
    claim.receive(claim.topic, message("here", "z"), False)
    assert claim.other is None
    assert list(claim.conflicts) == ["elsewhere"]


def test_one_that_has_had_the_name_for_long_stays_whatever_is_said() -> None:
    clock = Clock()
    claim = claimed(clock)
    claim.receive(claim.topic, message("here", "0"), False)
    assert claim.other is None
    assert list(claim.conflicts) == ["elsewhere"]
    # The other one hears of it.
    assert claim.answer(clock.now_s) is not None


def test_one_that_asked_an_owner_is_younger_than_it() -> None:
    clock = Clock()
    claim = claimed(clock)
    clock.now_s -= 2 * YOUNG_S - 1.0
    claim.receive(claim.topic, message("ask", "0"), False)
    claim.receive(claim.topic, message("here", "0"), False)
    assert claim.other is None


def test_who_takes_the_name_again_and_again_stops_no_process_for_long() -> None:
    clock = Clock()
    claim = Claim("front", clock)
    claim.begin()
    for number in range(1000):
        while claim.to_say:
            claim.receive(claim.topic, claim.to_say.popleft(), False)
        claim.receive(claim.topic, message("take", "z" * (number % 5)), False)
        if claim.settled(clock.now_s):
            break
        clock.now_s += 0.05
    assert claim.other is None
    assert clock.now_s < 11.0
