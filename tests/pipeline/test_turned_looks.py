"""Turned looks: when they are made, where, what they cost and whom they find."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from keeping import Keep
from programs import CLIP

from edgecam.analysis.places import Place
from edgecam.core.result import Pose, Result, TurnedLook
from edgecam.daemon.run import run
from edgecam.pipeline.roi.turn_schedule import Ask, TurnSchedule
from edgecam.settings.load import load

RATE_HZ = 10


def place(track: int | None, is_urgent: bool = False) -> Place:
    return Place(np.array([100.0, 100.0, 200.0, 200.0]), track, is_urgent)


LYING = TurnedLook(90, (Pose(0.9, np.zeros((17, 2)), np.ones(17)),), 3)


def made(
    schedule: TurnSchedule,
    frames: range,
    places: Sequence[Place] = (),
    moves: bool = True,
    finds: bool = False,
    moved_s: float = -math.inf,
) -> list[tuple[int, Ask]]:
    found = []
    for n in frames:
        ask = schedule.next(n / RATE_HZ, places, n / RATE_HZ if moves else moved_s)
        if ask is not None:
            schedule.looked(ask, LYING if finds else None)
            found.append((n, ask))
    return found


def test_the_whole_frame_is_looked_at_on_schedule_in_turns_and_never_if_still() -> None:
    schedule = TurnSchedule(2.0)
    looks = made(schedule, range(100))
    assert [n for n, _ in looks] == [20, 40, 60, 80]
    assert [ask.degrees for _, ask in looks] == [90, 270, 90, 270]
    # What moved before the last look was seen by it.
    assert made(schedule, range(100, 1000), moves=False, moved_s=7.9) == []


def test_a_place_is_looked_at_at_once_in_both_turns_and_then_seldomer() -> None:
    looks = [
        (n, ask) for n, ask in made(TurnSchedule(10.0), range(5, 600), [place(3)]) if ask.place
    ]
    assert [(n, ask.degrees) for n, ask in looks[:2]] == [(5, 90), (6, 270)]
    gaps = np.diff([n for n, _ in looks[1:]])
    assert list(gaps) == sorted(gaps)
    assert gaps[-1] == 100
    # The turn that finds a person is kept.
    found = made(TurnSchedule(10.0), range(100), [place(3)], finds=True)
    assert {ask.degrees for _, ask in found if ask.place} == {90}


def test_a_ghost_that_comes_and_goes_in_a_still_scene_gets_no_look() -> None:
    schedule = TurnSchedule(10.0)
    for n in range(0, 6000, 100):
        assert made(schedule, range(n, n + 30), [place(3)], moves=False) == []
        assert made(schedule, range(n + 30, n + 100), moves=False) == []


def test_who_was_found_lying_in_a_scene_that_is_still_since_is_there_without_a_look() -> None:
    schedule = TurnSchedule(10.0)
    asked = made(schedule, range(1, 6000), [place(3)], moves=False, finds=True, moved_s=0.0)
    looks = [n for n, ask in asked if ask.known is None]
    assert 2 <= len(looks) <= 8
    assert max(looks) <= 50
    assert len(asked) > 60
    assert all(ask.known is LYING for n, ask in asked if n > 50)
    # Something moves: they are looked at.
    more = made(schedule, range(6000, 6200), [place(3)], finds=True)
    assert any(ask.known is None and ask.place for _, ask in more)


def test_ten_lost_people_cost_less_than_a_tenth_and_a_suspected_fall_goes_first() -> None:
    crowd = [place(track) for track in range(1, 11)]
    schedule = TurnSchedule(10.0)
    assert 60 < len(made(schedule, range(1000), crowd)) < 100
    looks = made(schedule, range(1000, 1050), [*crowd, place(99, is_urgent=True)])
    urgent = [n for n, ask in looks if ask.place is not None and ask.place.is_urgent]
    assert urgent == list(range(1000, 1050, 4))


def test_a_suspected_fall_is_looked_at_in_a_still_scene_too() -> None:
    looks = made(TurnSchedule(10.0), range(50), [place(9, is_urgent=True)], moves=False, finds=True)
    assert len(looks) >= 12
    assert all(ask.known is None for _, ask in looks)


def test_a_film_that_begins_again_has_no_new_places_and_no_new_budget() -> None:
    schedule = TurnSchedule(10.0)
    looks = [made(schedule, range(20), [place(3)]) for _ in range(50)]
    assert 50 < sum(map(len, looks)) < 100
    assert schedule.next(2.0, (), -math.inf) is None


def write_film(path: Path, images: Sequence[np.ndarray]) -> Path:
    size = images[0].shape[1::-1]
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, size)
    for image in images:
        film.write(image)
    film.release()
    return path


def clip() -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(CLIP)), []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


def looked_at(
    source: Path, turned_look_s: float | None, **more: object
) -> tuple[list[Result], dict]:
    flags = {
        "model.path": ["posenet"],
        "source.url": str(source),
        **({} if turned_look_s is None else {"turned_look_s": turned_look_s}),
        "inference.probe": False,
        **more,
    }
    kept = Keep()
    last = run(load(None, {}, flags), threading.Event(), extra_sinks=[kept])
    return kept.results, dict(last.counters)


@pytest.fixture(scope="module")
def sideways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled clip on its side: everybody lies."""
    images = [cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE) for image in clip()[:30]]
    return write_film(tmp_path_factory.mktemp("film") / "sideways.avi", images)


def shape(results: Sequence[Result]) -> list[list[tuple[float, bytes]]]:
    return [[(pose.score, pose.xy.tobytes()) for pose in result.poses] for result in results]


def test_turned_looks_find_people_who_lie_and_say_what_they_cost(sideways: Path) -> None:
    upright, none = looked_at(sideways, 0.0)
    assert "turned_looks" not in none
    assert sum(len(result.poses) for result in upright) <= 3
    results, counts = looked_at(sideways, 0.5)
    assert 3 <= counts["turned_looks"] == counts["turned_invokes"] <= 8
    assert sum(len(result.poses) for result in results) >= 6
    # In the pixels of the film, in which trunks are level.
    pose = max((pose for result in results for pose in result.poses), key=lambda each: each.score)
    trunk = pose.xy[5:7].mean(axis=0) - pose.xy[11:13].mean(axis=0)
    assert abs(trunk[0]) > 2.0 * abs(trunk[1])


def test_a_refining_model_looks_closer_at_whom_a_turned_look_finds(tmp_path: Path) -> None:
    """At the place of one who was found alone: the look at the whole frame is not refined."""
    images = [cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE) for image in clip()[:12]]
    film = write_film(tmp_path / "sideways.avi", images)
    _, counts = looked_at(film, 0.3, refine="thunder")
    assert counts["turned_looks"] < counts["turned_invokes"] <= 2 * counts["turned_looks"]


def test_a_recording_with_turned_looks_gives_the_same_each_time(sideways: Path) -> None:
    first, second = (looked_at(sideways, 0.5)[0] for _ in range(2))
    assert shape(first) == shape(second)
    gated = [looked_at(sideways, 0.5, **{"motion.enabled": True})[0] for _ in range(2)]
    assert shape(gated[0]) == shape(gated[1])


def test_a_still_and_empty_scene_gets_no_turned_look(tmp_path: Path) -> None:
    # Blurred, for a network sees people in lamp posts too.
    empty = cv2.GaussianBlur(np.median(clip()[::5], axis=0).astype(np.uint8), (0, 0), 12)
    film = write_film(tmp_path / "empty.avi", [empty] * 30)
    results, counts = looked_at(film, 0.5)
    assert not any(result.poses for result in results)
    assert counts["turned_looks"] == counts["turned_invokes"] == 0


def test_each_picture_of_a_folder_gets_both_turned_looks_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    for degrees, code in ((90, cv2.ROTATE_90_CLOCKWISE), (270, cv2.ROTATE_90_COUNTERCLOCKWISE)):
        cv2.imwrite(str(tmp_path / f"{degrees}.png"), cv2.rotate(clip()[0], code))
    # A default run looks at films alone.
    assert looked_at(tmp_path, None)[1]["turned_looks"] == 0
    results, counts = looked_at(tmp_path, 10.0)
    assert counts["turned_looks"] == 4
    assert all(len(result.poses) >= 2 for result in results)
