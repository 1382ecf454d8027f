"""People followed by crops: where they are put, that they come back, and that it pays."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from keeping import Keep
from programs import CLIP, edgecam, error_line, shared
from skeletons import person

from edgecam.core.frame import Frame
from edgecam.core.geometry import Rectangle, tile
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions, Sink
from edgecam.core.result import Box, Pose, Result
from edgecam.core.tensors import Tensor
from edgecam.daemon.build import load_models
from edgecam.daemon.run import run
from edgecam.daemon.session import Session
from edgecam.inference.model import Model, ModelImage
from edgecam.inference.preprocess import Resizer
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.roi.inference_steps import run_steps
from edgecam.pipeline.roi.person_crop import PersonTiles, Tile, cells
from edgecam.settings.load import load
from edgecam.settings.scene import CropSettings
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.sources.video import VideoFile
from edgecam.tools.evaluate.crop_throughput import measure_crop
from edgecam.tools.evaluate.oks import likeness

SIZE = (640, 480)


class FailingSink:
    """A sink without room from the third result on."""

    def __init__(self) -> None:
        self._results: list[Result] = []

    def publish(self, result: Result) -> None:
        self._results.append(result)
        if len(self._results) > 2:
            raise OSError("no room")

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        return


def in_tile(pose: Pose, shown: Tile) -> Pose:
    """A source-frame pose as the small input shows it, by OpenCV's half-pixel rule."""
    fit = shown.fit
    scale = np.array((fit.scale_x, fit.scale_y))
    low = np.array((fit.source_left_px, fit.source_top_px))
    xy = (pose.xy - low + 0.5) * scale - 0.5 + (fit.left_px, fit.top_px)
    return Pose(pose.score, xy, pose.scores)


@pytest.mark.parametrize("cell", [Rectangle(0, 0, 209, 257), Rectangle(112, 128, 97, 129)])
@pytest.mark.parametrize("part", [Rectangle(100, 60, 150, 190), Rectangle(500, 0, 140, 480)])
def test_a_dot_in_a_tile_lies_where_it_was_drawn(part: Rectangle, cell: Rectangle) -> None:
    x, y = part.left_px + 0.4 * part.width_px, part.top_px + 0.6 * part.height_px
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0**2)
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    fit = tile(part, cell)
    buffer = np.zeros((257, 209, 3), np.uint8)
    Resizer.resize_tile_into(image, part, fit, buffer)
    seen = buffer[..., 0].astype(float)
    outside = seen.copy()
    outside[cell.rows, cell.columns] = 0
    assert not outside.any()
    input_rows, input_columns = np.mgrid[:257, :209]
    centre = np.array([[(seen * input_columns).sum(), (seen * input_rows).sum()]]) / seen.sum()
    assert fit.keypoints_to_source(centre)[0] == pytest.approx((x, y), abs=0.2)
    dot = Box(float(centre[0, 0]), float(centre[0, 1]), 0.0, 0.0)
    assert fit.box_to_source(dot).x_min == pytest.approx(x, abs=0.5 / fit.scale_x)


def test_cells_fill_the_input_and_begin_at_its_grid() -> None:
    for rows in range(1, 7):
        for columns in range(1, 7):
            found = cells(rows, columns, 209, 257)
            assert len(found) == rows * columns
            assert sum(c.width_px * c.height_px for c in found) == 209 * 257
            assert all(c.left_px % 16 == 0 and c.top_px % 16 == 0 for c in found)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 7, 12, 20])
def test_everybody_who_is_followed_has_a_tile_and_is_found_in_it(number: int) -> None:
    people = [
        person(x=60 + 110 * (n % 5), y=70 + 95 * (n // 5), trunk_px=30) for n in range(number)
    ]
    crop = PersonTiles(209, 257, 1.2, 0.25)
    crop.found(people, SIZE)
    tiles = crop.tiles()
    assert len(tiles) == number
    found, doubt = crop.seen([in_tile(p, t) for p, t in zip(people, tiles, strict=True)], tiles)
    assert not doubt
    assert len(found) == number
    for one, other in zip(people, found, strict=True):
        assert other.xy == pytest.approx(one.xy, abs=1e-6)


def test_a_person_who_moves_stays_in_the_tile_and_one_who_is_gone_is_missed() -> None:
    crop = PersonTiles(209, 257, 1.2, 0.25)
    crop.found([person(x=100)], SIZE)
    for step in range(1, 20):
        here = person(x=100 + 20 * step)
        (shown,) = crop.tiles()
        inside = here.xy - (shown.part.left_px, shown.part.top_px)
        if step > 3:
            assert (inside >= 0).all()
            assert (inside <= (shown.part.width_px, shown.part.height_px)).all()
        found, doubt = crop.seen([in_tile(here, shown)], [shown])
        assert (len(found), doubt) == (1, False)
    assert crop.seen([], crop.tiles()) == ([], True)
    assert crop.people == 0


def test_a_person_much_less_sure_or_another_person_calls_for_a_whole_look() -> None:
    crop = PersonTiles(209, 257, 1.2, 0.25)
    crop.found([person()], SIZE)
    tiles = crop.tiles()
    weak = person()
    found, doubt = crop.seen([Pose(0.2, in_tile(weak, tiles[0]).xy, weak.scores)], tiles)
    assert (len(found), doubt) == (1, True)
    far = Pose(0.9, in_tile(person(), crop.tiles()[0]).xy + 500.0, weak.scores)
    assert crop.seen([far], crop.tiles()) == ([], True)


def test_boxes_of_a_detector_add_those_who_are_not_followed_yet() -> None:
    crop = PersonTiles(209, 257, 1.2, 0.25)
    crop.found([person(x=100, y=200)], SIZE)
    box = Box(60.0, 120.0, 140.0, 330.0)
    crop.expect([box, Box(400.0, 100.0, 460.0, 260.0)], 5, SIZE)
    assert crop.people == 2
    crop.expect([Box(n * 100.0, 380.0, n * 100.0 + 40.0, 470.0) for n in range(6)], 3, SIZE)
    assert crop.people == 3


@pytest.mark.parametrize("look", ["pose", "detector"])
def test_crops_give_the_same_bytes_on_any_number_of_threads(look: str, tmp_path: Path) -> None:
    config = tmp_path / "crop.toml"
    config.write_text(f'[crop]\nenabled = true\nlook = "{look}"\nlook_every = 6\n', "utf-8")
    models = ["-m", "posenet", "-m", "ssdlite"][: 2 if look == "pose" else 4]
    found = []
    for threads in (1, 2):
        done = edgecam(
            *("replay", CLIP, *models, "--config", config),
            *("--threads", threads, "--max-frames", 20),
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert len(found[0].splitlines()) == 20
    assert found[0] == found[1]


def bench_settings(clip: Path, frames: int) -> Settings:
    return Settings(
        model=(ModelSettings(path="posenet"),),
        source=SourceSettings(url=str(clip)),
        inference=InferenceSettings(threads=1, probe=False),
        max_frames=frames,
    )


def pixels_ratio(clip: Path, frames: int) -> float:
    """Pixels that the interpreter is given: of whole frames over those of crops."""
    settings = msgspec.structs.replace(
        bench_settings(clip, frames), crop=CropSettings(enabled=True)
    )
    (model,) = load_models(settings)
    attention, buffer = RoiController(settings, [model]), model.buffer()
    whole = crops = 0

    def invoked(one: Model, staged: ModelImage) -> Sequence[Tensor]:
        nonlocal crops
        crops += staged.image.size
        return one.invoke(staged)

    for frame in islice(VideoFile(str(clip)).frames(), frames):
        whole += model.preprocess(frame, buffer).image.size
        looking = attention.infer(frame, [True], settings.decode.options())
        run_steps(looking, lambda _place, one, staged, _frame: invoked(one, staged))
    return whole / crops


@pytest.mark.parametrize(
    "name", ["people-walking.mp4", pytest.param("asl_book.mkv", marks=pytest.mark.long)]
)
def test_crops_see_as_well_as_whole_frames_with_fewer_pixels(name: str) -> None:
    """What that saves in time is a figure of ``scripts/bench --check``."""
    clip = CLIP if name == CLIP.name else shared("media", "clips", name)
    assert pixels_ratio(clip, 50) >= 2.5
    report = measure_crop(bench_settings(clip, 50), "posenet-fp16", rounds=1)
    assert report.crop_oks >= report.whole_oks - 0.003
    assert report.crop_extra <= report.whole_extra + 3
    assert report.whole_looks < report.frames / 5


def test_people_are_known_from_ghosts_in_the_likeness() -> None:
    one, two = person(x=100), person(x=400)
    same = likeness({0: (one, two), 1: (one,)}, {0: (one, two), 1: (one,)})
    assert (same.mean_oks, same.people, same.found, same.extra) == (1.0, 3, 3, 0)
    missed = likeness({0: (one, two)}, {0: (one,)})
    assert (missed.mean_oks, missed.found, missed.extra) == (0.5, 1, 0)
    assert likeness({0: (one,)}, {0: (one, person(x=5000))}).extra == 1


def test_the_detector_leads_and_looks_only_when_it_must() -> None:
    flags = {
        "model.path": ["ssdlite", "posenet"],
        "source.url": str(CLIP),
        "crop.enabled": True,
        "crop.look": "detector",
        "max_frames": 30,
    }
    shown = Keep()
    last = run(load(None, {}, flags), threading.Event(), extra_sinks=[shown])
    looked = [len(result.by_model) for result in shown.results]
    assert looked[0] == 2
    assert looked.count(2) == last.counters["crop_whole_looks"] < 15
    assert last.counters["crop_frames"] == 30 - last.counters["crop_whole_looks"]
    assert sum(len(result.poses) for result in shown.results) > 30


def crop_run(*sinks: Sink) -> Session:
    flags = {"model.path": ["posenet"], "source.url": str(CLIP), "crop.enabled": True}
    settings = load(None, {}, flags)
    return Session(settings, load_models(settings), threading.Event(), sinks)


def test_a_recording_that_is_stopped_or_fails_by_crops_ends_every_thread() -> None:
    before = threading.active_count()
    for results in range(6):
        kept = Keep()
        session = crop_run(kept)
        session.pipeline.start()
        while len(kept.results) <= results:
            time.sleep(0.001)
        session.close()
        assert [r.frame.sequence for r in kept.results] == list(range(len(kept.results)))
        assert threading.active_count() == before
    session = crop_run(FailingSink())
    session.pipeline.start()
    with pytest.raises(OSError, match="no room"):
        session.pipeline.wait(300.0)
    session.close()
    assert threading.active_count() == before


def cascade() -> Settings:
    flags = {
        "model.path": ["ssdlite", "posenet"],
        "source.url": str(CLIP),
        "crop.enabled": True,
        "crop.look": "detector",
    }
    return load(None, {}, flags)


def test_a_detector_that_fails_or_waits_for_its_turn_leaves_the_people_to_the_pose_model() -> None:
    settings = cascade()
    models = load_models(settings)
    asked: list[tuple[str, bool]] = []

    def invoke(
        place: int, model: Model, staged: ModelImage, _frame: Frame
    ) -> Sequence[Tensor] | None:
        asked.append((model.name[:7], staged.image.shape[0] < 300))
        return None if place == 0 and fails else model.invoke(staged)

    frames = list(islice(VideoFile(str(CLIP)).frames(), 6))
    fails, attention = True, RoiController(settings, models)
    found = [
        run_steps(attention.infer(frame, [number % 3 == 0, True], DecodeOptions()), invoke)
        for number, frame in enumerate(frames)
    ]
    assert asked[:3] == [("ssdlite", False), ("posenet", False), ("posenet", True)]
    assert len([name for name, _ in asked if name == "ssdlite"]) <= 2
    assert all(len(result.poses) >= 2 for result in found)
    assert not any(result.waiting for result in found)
    fails, attention = False, RoiController(settings, models)
    asked.clear()
    found = [
        run_steps(attention.infer(frame, [number == 2, True], DecodeOptions()), invoke)
        for number, frame in enumerate(frames)
    ]
    assert [len(result.poses) for result in found[:2]] == [0, 0]
    assert [name for name, _ in asked] == ["ssdlite"] + ["posenet"] * 4
    assert all(len(result.poses) >= 2 for result in found[2:])


def test_a_camera_that_is_turned_is_looked_at_whole() -> None:
    crop = PersonTiles(209, 257, 1.2, 0.25)
    crop.found([person(x=600)], SIZE)
    assert crop.follows(SIZE)
    assert not crop.follows((480, 640))
    crop.expect([Box(60.0, 120.0, 140.0, 330.0)], 5, (480, 640))
    assert (crop.people, crop.follows((480, 640))) == (1, True)
    flags = {"model.path": ["posenet"], "source.url": str(CLIP), "crop.enabled": True}
    settings = load(None, {}, flags)
    models = load_models(settings)
    frames = list(islice(VideoFile(str(CLIP)).frames(), 12))
    for turned_at in range(2, 10):
        attention = RoiController(settings, models)
        for number, frame in enumerate(frames):
            # Mirrored, so that people are beyond the width of a picture on its side.
            image = np.rot90(frame.image) if number >= turned_at else frame.image[:, ::-1]
            turned = replace(frame, image=np.ascontiguousarray(image))
            asked = attention.infer(turned, [True], DecodeOptions())
            run_steps(asked, lambda _place, model, staged, _frame: model.invoke(staged))


@pytest.mark.parametrize("is_retried", [True, False])
def test_a_pose_model_that_fails_leaves_the_detector_its_looks(is_retried: bool) -> None:
    settings = cascade()
    attention = RoiController(settings, load_models(settings))
    found = [
        run_steps(
            attention.infer(frame, [True, number == 0 or is_retried], DecodeOptions()),
            lambda place, model, staged, _frame: None if place == 1 else model.invoke(staged),
        )
        for number, frame in enumerate(islice(VideoFile(str(CLIP)).frames(), 6))
    ]
    assert all(len(result.detections) >= 2 for result in found)
    assert not any(result.waiting for result in found)


def test_pictures_of_a_folder_are_looked_at_whole(tmp_path: Path) -> None:
    capture = cv2.VideoCapture(str(CLIP))
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), capture.read()[1])
    flags = {"model.path": ["posenet"], "source.url": str(tmp_path), "crop.enabled": True}
    last = run(load(None, {}, flags), threading.Event())
    assert last.counters["crop_whole_looks"] == 3


def test_what_crops_need_is_asked_for_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "crop.toml"
    config.write_text("[crop]\nenabled = true\n", "utf-8")
    assert "one PoseNet" in error_line(
        edgecam("-m", "ssdlite", "-s", CLIP, "--config", config, "--jsonl", "-")
    )
    config.write_text('[crop]\nenabled = true\nlook = "detector"\n', "utf-8")
    assert "an SSD" in error_line(
        edgecam("-m", "posenet", "-s", CLIP, "--config", config, "--jsonl", "-")
    )
    config.write_text('[crop]\nenabled = true\ninput_size = "250x200"\n', "utf-8")
    assert "257x193" in error_line(
        edgecam("-m", "posenet", "-s", CLIP, "--config", config, "--jsonl", "-")
    )
