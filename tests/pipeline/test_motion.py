"""The motion gate: quiet where nothing moves, and all who come in are seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from keeping import Keep
from programs import CLIP

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.tracker import pose_oks
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.result import Decoded, Pose, Result
from edgecam.daemon.run import run
from edgecam.pipeline.roi.motion_gate import Motion, MotionGate
from edgecam.settings.load import load
from edgecam.settings.scene import MotionSettings, TrackingSettings
from edgecam.settings.schema import Settings

RANDOM = np.random.default_rng(3)
CLIP_HZ = 10
# From the frame in which a person is there until a look: none, for they move as they come.
LATENCY_S = 0.3


def clip_images() -> list[Image]:
    capture, found = cv2.VideoCapture(str(CLIP)), []
    while (read := capture.read())[0]:
        found.append(np.asarray(read[1], np.uint8))
    return found


def empty_scene(images: list[Image]) -> Image:
    """The scene of a clip without those who walk through it."""
    return np.median(images[::5], axis=0).astype(np.uint8)


def noisy(image: Image, deviation: float) -> Image:
    noise = RANDOM.normal(0.0, deviation, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write_film(path: Path, images: Iterator[Image], rate_hz: float) -> None:
    film = None
    for image in images:
        if film is None:
            code = cv2.VideoWriter.fourcc(*"MJPG")
            film = cv2.VideoWriter(str(path), code, rate_hz, image.shape[1::-1])
        film.write(image)
    assert film is not None
    film.release()


@pytest.fixture(scope="module")
def empty() -> Image:
    return empty_scene(clip_images())


@pytest.mark.parametrize("deviation", [0.0, 2.0, 8.0, 20.0])
def test_noise_is_no_movement(deviation: float, empty: Image) -> None:
    motion = Motion(0.001, 6.0)
    assert motion.seen(noisy(empty, deviation), 0.0)
    seen = [motion.seen(noisy(empty, deviation), n / CLIP_HZ) for n in range(1, 30)]
    assert not any(seen)


def test_a_lamp_that_dims_is_no_movement_and_a_small_person_is(empty: Image) -> None:
    motion = Motion(0.001, 6.0)
    motion.seen(empty, 0.0)
    for n in range(1, 30):
        dimmed = np.clip(empty * (1.0 - 0.01 * n) + 0.5, 0, 255).astype(np.uint8)
        assert not motion.seen(noisy(dimmed, 3.0), n / CLIP_HZ)
    visited = noisy(dimmed, 3.0)
    visited[300:350, 400:420] = 40
    assert motion.seen(visited, 3.0)


def frame(image: Image, time_s: float) -> Frame:
    return Frame(image, round(time_s * CLIP_HZ), time_s, time_s, media_time_s=time_s)


def test_the_gate_holds_looks_now_and_then_and_sooner_where_a_person_is(empty: Image) -> None:
    small = np.ascontiguousarray(empty[::4, ::4])
    gate = MotionGate(MotionSettings(hold_s=1.0, occupied_look_s=0.5, empty_look_s=2.0))

    def looks(begin: int, end: int, number: int) -> list[int]:
        found = []
        for n in range(begin, end):
            if gate.opens(frame(small, n / 10)):
                gate.found(number)
                found.append(n)
        return found

    assert looks(0, 11, 0) == list(range(11))
    assert looks(11, 60, 0) == [30, 50]
    # A person is seen by the next look, and looked at for a while to be certain; then less often.
    assert looks(60, 81, 1) == list(range(70, 81))
    assert looks(81, 100, 1) == [85, 90, 95]
    # What is seen in one look and not in the next keeps it open no more than once.
    flicker = [n for n in range(100, 160) if looks(n, n + 1, n % 2)]
    assert len(flicker) < 30
    # The film begins again.
    assert looks(0, 5, 1) == list(range(5))


def entries(results: list[Result]) -> dict[int, tuple[float, Pose]]:
    """By track: when it was first reported, and where it was then."""
    found: dict[int, tuple[float, Pose]] = {}
    for result in results:
        for pose in result.poses:
            if pose.track is not None:
                found.setdefault(pose.track, (result.frame.time_s, pose))
    return found


def replayed(film: Path, is_gated: bool) -> tuple[list[Result], dict[str, int]]:
    flags = {
        "model.path": ["posenet"],
        "source.url": str(film),
        "motion.enabled": is_gated,
        "inference.probe": False,
    }
    looked = Keep()
    last = run(load(None, {}, flags), threading.Event(), extra_sinks=[looked])
    return looked.results, dict(last.counters)


def test_no_person_who_comes_into_a_still_scene_goes_unseen(tmp_path: Path) -> None:
    """An empty scene, then a strip of the clip in which people come from both sides, empty again.

    Everybody whom the run without a gate tracks is tracked with it, at the same place.
    """
    images = clip_images()
    still = empty_scene(images)
    strips = []
    for image in images[:60]:
        shown = still.copy()
        shown[:, 420:660] = image[:, 420:660]
        strips.append(shown)
    film = tmp_path / "entry.avi"
    frames = [still] * 50 + strips + [still] * 40
    write_film(film, (noisy(image, 2.0) for image in frames), CLIP_HZ)
    whole, _ = replayed(film, is_gated=False)
    gated, counts = replayed(film, is_gated=True)
    assert len(gated) == len(whole) == len(frames)
    assert counts["motion_skips"] > 15
    assert counts["motion_looks"] + counts["motion_skips"] == len(frames)
    came = entries(whole)
    assert len(came) >= 3
    by_time = {round(result.frame.time_s, 3): result for result in gated}
    for first_s, pose in came.values():
        times = [first_s + n / CLIP_HZ for n in range(round(LATENCY_S * CLIP_HZ) + 1)]
        seen = [p for t in times if round(t, 3) in by_time for p in by_time[round(t, 3)].poses]
        assert seen, f"no person seen at {first_s}"
        assert pose_oks(seen, [pose]).max() > 0.5, f"missed at {first_s}"
    # Only people who have left are reported so.
    left = [
        sum(e.event_type in ("lost", "left") for r in run if r.insight for e in r.insight.events)
        for run in (whole, gated)
    ]
    assert 0 < left[1] <= left[0]


def test_who_stands_still_stays_and_so_does_what_is_published_of_them() -> None:
    """Skipped frames neither age a track nor confirm one, and repeat what was found."""
    from skeletons import person

    analysis = Analysis(Settings(tracking=TrackingSettings(max_age_s=1.0)), finds_poses=True)
    image = np.zeros((480, 640, 3), np.uint8)

    def shown(time_s: float, poses: tuple[Pose, ...] | None) -> Result:
        if poses is None:
            waiting = frozenset(("m",))
            return analysis(Result(frame(image, time_s), {}, repeated=True, waiting=waiting))
        return analysis(Result(frame(image, time_s), {"m": Decoded(poses=poses)}))

    for n in range(3):
        last = shown(n / 10, (person(),))
    track = last.poses[0].track
    reported: list[str] = []
    for n in range(3, 600):
        last = shown(n / 10, None)
        assert last.repeated
        assert last.poses[0].track == track
        assert last.insight is not None
        assert dict(last.insight.counts) == {"person": 1}
        reported += [event.event_type for event in last.insight.events]
    assert "left" not in reported
    # A look that misses them once does not end it; a second without them does.
    shown(60.0, ())
    assert shown(60.1, (person(),)).poses[0].track == track
    for n in range(602, 620):
        last = shown(n / 10, ())
        assert last.insight is not None
        reported += [event.event_type for event in last.insight.events]
    assert reported.count("left") == 1


def test_the_cascade_looks_at_a_still_scene_now_and_then(tmp_path: Path, empty: Image) -> None:
    """640x480 at 10 frames a second; what it saves is a figure of ``scripts/bench --check``."""
    film = tmp_path / "still.avi"
    # Where no person stands: those who stood still all along are in the rest.
    image = cv2.resize(empty[:150, 280:480], (640, 480))
    write_film(film, (noisy(image, 2.0) for _ in range(120)), CLIP_HZ)
    flags = {
        "model.path": ["ssdlite", "posenet"],
        "source.url": str(film),
        "motion.enabled": True,
        "crop.enabled": True,
        "crop.look": "detector",
        "inference.probe": False,
    }
    looked = Keep()
    counts = dict(run(load(None, {}, flags), threading.Event(), extra_sinks=[looked]).counters)
    assert len(looked.results) == 120
    settings = MotionSettings()
    at_first = round(settings.hold_s * CLIP_HZ) + 1
    later = (120 - at_first) / (settings.empty_look_s * CLIP_HZ)
    assert counts["motion_looks"] <= at_first + later + 1
    assert counts["motion_looks"] + counts["motion_skips"] == 120
