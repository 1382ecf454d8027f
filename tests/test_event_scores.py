"""Clips that are played in many ways, and the table of what was reported of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecam.core.errors import EdgecamError
from edgecam.core.events import Event, EventType
from edgecam.core.result import Decoded
from edgecam.tools.evaluate.clips import Clip, Playing, looks
from edgecam.tools.evaluate.event_scores import Truth, lines, read_truth, score

FOUND = [{"m": Decoded()} for _ in range(4)]
# Four pictures, two a second.
CLIP = Clip("fall.mp4", 320, 240, (0.0, 0.5, 1.0, 1.5), FOUND)


def shown(playing: Playing) -> list[int]:
    """The numbers of the pictures that are looked at; -1 where the look is lost."""
    return [-1 if place is None else place for _, place in looks(CLIP, playing)]


@pytest.mark.parametrize(
    ("playing", "expected"),
    [
        (Playing(2.0), [0, 1, 2, 3]),
        (Playing(1.0), [0, 2]),
        (Playing(4.0), [0, 0, 1, 1, 2, 2, 3, 3]),
        (Playing(2.0, hold_first_s=1.0, hold_last_s=1.0), [0, 0, 0, 1, 2, 3, 3, 3]),
        (Playing(2.0, backwards=True, hold_last_s=0.5), [3, 2, 1, 0, 0]),
        (Playing(1.0, slower=2.0), [0, 1, 2, 3]),
        (Playing(2.0, loops=2), [0, 1, 2, 3, 0, 1, 2, 3]),
        (Playing(2.0, lost=1.0), [-1, -1, -1, -1]),
    ],
)
def test_looks_show_the_pictures_that_the_playing_asks_for(
    playing: Playing, expected: list[int]
) -> None:
    assert shown(playing) == expected
    times_s = [now_s for now_s, _ in looks(CLIP, playing)]
    assert times_s == pytest.approx([n / playing.rate_hz for n in range(len(expected))])


def test_looks_lose_the_same_ones_each_time() -> None:
    playing = Playing(50.0, lost=0.2, seed=3)
    assert shown(playing) == shown(playing)
    assert 10 <= shown(playing).count(-1) <= 30


def event(event_type: EventType, time_s: float) -> Event:
    return Event(event_type, 1, time_s, time_s, time_s, 0.0, 1, "person", 0.9)


def test_score_counts_each_event_where_it_is_true_and_where_it_is_not() -> None:
    truths = {"fall.mp4": Truth(1.0, 1.5, frozenset({"fall", "lying"}))}
    fell = [event("left", 1.2), event("fall", 6.0), event("fall", 9.0), event("left", 7.0)]
    reported = [("fall.mp4", fell), ("street.mp4", [event("left", 3.0), event("wave", 2.0)])]
    table = score(reported, truths, Playing(hold_first_s=2.0))
    assert table["fall"].hits == ["fall.mp4"]
    assert table["fall"].events == 2
    assert table["fall"].after_s == [3.0]
    assert table["lying"].true == 1
    assert not table["lying"].hits
    assert table["left"].false == ["fall.mp4"]
    assert table["left"].events == 1
    assert table["wave"].false == ["street.mp4"]
    assert any("wave" in line and "street.mp4" in line for line in lines(table, 2))


def test_score_lets_be_what_may_be_reported_and_need_not() -> None:
    truths = {"fall.mp4": Truth(1.0, 1.5, frozenset({"fall"}), frozenset({"lying"}))}
    table = score([("fall.mp4", [event("lying", 6.0)])], truths, Playing())
    assert not table["lying"].false
    assert table["lying"].true == 0


@pytest.mark.parametrize("playing", [Playing(backwards=True), Playing(slower=4.0)])
def test_score_calls_a_fall_false_where_a_person_gets_up_or_lies_down_slowly(
    playing: Playing,
) -> None:
    truths = {"fall.mp4": Truth(1.0, 1.5, frozenset({"fall", "lying"}))}
    table = score([("fall.mp4", [event("fall", 6.0)])], truths, playing)
    assert table["fall"].false == ["fall.mp4"]
    assert table["fall"].true == 0


def test_read_truth_reads_each_clips_fall_and_end(tmp_path: Path) -> None:
    path = tmp_path / "truth.toml"
    path.write_text(
        '[[clip]]\nfile = "clips/a.mp4"\nfall_s = 1\nfloor_s = 2.5\nend = "lying"\n'
        '[[clip]]\nfile = "b.mp4"\nevents = ["wave"]\nstarts = "seated"\nend = "lying_cut"\n',
        "utf-8",
    )
    assert read_truth(path) == {
        "a.mp4": Truth(1.0, 2.5, frozenset({"fall", "lying"})),
        "b.mp4": Truth(None, None, frozenset({"wave"}), frozenset({"lying", "sitting"})),
    }


@pytest.mark.parametrize("text", ["", "clip = 1", "[[clip]]\nfall_s = 1\n", "[[clip]\n"])
def test_read_truth_says_what_it_expects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(EdgecamError, match=r"expected \[\[clip\]\] tables with file"):
        read_truth(path)
