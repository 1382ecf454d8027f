"""How far apart attempts to open a lost camera are, over an hour."""

from __future__ import annotations

import pytest

from edgecam.settings.schema import SourceSettings
from edgecam.sources import backoff as outage
from edgecam.sources.backoff import STEADY_RETRY_S, Outage


def test_attempts_are_1_s_apart_at_first_and_30_s_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(outage.time, "monotonic", lambda: now_s)
    one = Outage(SourceSettings())
    for _ in range(2):
        began_s = now_s
        one.began()
        waits = []
        while now_s - began_s < 3600.0:
            waits.append((now_s - began_s, one.next_wait_s()))
            now_s += waits[-1][1]
        assert {wait_s for at_s, wait_s in waits if at_s <= STEADY_RETRY_S} == {1.0}
        later = [wait_s for at_s, wait_s in waits if at_s > STEADY_RETRY_S]
        assert later[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        assert set(later[5:]) == {30.0}
        assert one.ended() == pytest.approx(now_s - began_s)
