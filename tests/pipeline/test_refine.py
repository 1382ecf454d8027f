"""People refined one by one: the square they get, whose turn it is, and what is not believed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from keeping import Keep
from programs import CLIP, edgecam, error_line
from skeletons import person

from edgecam import Predictor
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Box, Pose, Result
from edgecam.core.tensors import Tensor
from edgecam.daemon.build import load_models
from edgecam.daemon.run import run
from edgecam.inference.model import Model, ModelImage
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.roi.inference_steps import Answer, ModelRunner, invoke_only, run_steps
from edgecam.pipeline.roi.person_square import (
    Square,
    around_box,
    around_pose,
    box_of,
    edges_of,
    to_frame,
)
from edgecam.pipeline.roi.refined_people import Candidate, People, distinct, most_due
from edgecam.pipeline.roi.refiner import Refiner, candidates
from edgecam.pipeline.roi.single_pose import both_poses, single_pose
from edgecam.settings.accuracy import chosen
from edgecam.settings.load import load
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.sources.video import VideoFile
from edgecam.tools.evaluate.marked import read, shipped

SIZE = (640, 480)


@pytest.fixture(scope="module")
def thunder() -> Model:
    inference = InferenceSettings(threads=1, probe=False)
    return Model(ModelSettings(path="thunder"), inference, refines=True)


def seen(pose: Pose) -> Candidate:
    return Candidate(pose.score, box_of(pose), pose)


def picture(sequence: int = 0, captured_s: float = 0.0) -> Frame:
    return Frame(np.zeros((480, 640, 3), np.uint8), sequence, captured_s, 0.0)


@pytest.mark.parametrize("lean", [0.0, 1.3, -2.5])
def test_a_dot_in_a_square_lies_where_it_was_drawn(lean: float, thunder: Model) -> None:
    x, y = 330.0, 260.0
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0**2)
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    matrix = Square(np.array((300.0, 240.0)), 200.0, lean).matrix(256)
    frame = replace(picture(), image=image)
    shown = ModelRunner(0, thunder).warped(frame, matrix).image[..., 0].astype(float)
    input_rows, input_columns = np.mgrid[:256, :256]
    centre = np.array([[(shown * input_columns).sum(), (shown * input_rows).sum()]]) / shown.sum()
    assert to_frame(centre, matrix)[0] == pytest.approx((x, y), abs=0.1)


def test_a_look_at_both_sides_sees_the_same_in_a_mirror(thunder: Model) -> None:
    (picture_of_one,) = [p for p in read(shipped()) if p.frame.file == "astronaut.jpg"]
    frame, runner = picture_of_one.frame, ModelRunner(0, thunder)
    across = frame.width_px - 1.0
    mirrored = replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1]), is_mirrored=True)
    poses = []
    for each, x in ((frame, 220.0), (mirrored, across - 220.0)):
        square = Square(np.array((x, 260.0)), 520.0)
        found, times = run_steps(both_poses(runner, each, square), invoke_only)
        assert found is not None
        assert times.invoke_ms > 0.0
        poses.append(found)
    first, second = poses
    sure = first.scores > 0.4
    assert sure.sum() >= 7
    # Resampling sees the two pictures half a step apart.
    there = np.column_stack((across - second.xy[:, 0], second.xy[:, 1]))
    assert np.abs(there - first.xy)[sure].max() < 3.0
    single, _ = run_steps(
        single_pose(runner, frame, Square(np.array((220.0, 260.0)), 520.0)), invoke_only
    )
    assert single is not None
    assert np.abs(single.xy - first.xy)[sure].max() < 15.0


def test_best_looks_at_both_sides_and_a_model_by_name_only_where_asked() -> None:
    for given, mirrored in (
        ({"accuracy": "best"}, True),
        ({"accuracy": "balanced"}, False),
        ({"accuracy": "best", "model.path": ["posenet"], "refine": "thunder"}, False),
        ({"refine_mirrored": True, "model.path": ["posenet"], "refine": "thunder"}, True),
    ):
        assert chosen(load(None, {}, given)).refine_mirrored is mirrored


def test_a_square_holds_all_of_a_person_upright_or_lying() -> None:
    for lean_degrees in (0, 30, 90, -90, 180):
        pose = person(lean_degrees=float(lean_degrees))
        square = around_pose(pose)
        inside = pose.xy @ square.matrix(256)[:, :2].T + square.matrix(256)[:, 2]
        assert inside.min() > 20
        assert inside.max() < 236
        if abs(lean_degrees) >= 45:
            # The head is up in the square.
            assert inside[0, 1] < inside[15, 1] - 100
        else:
            assert square.lean == 0.0


def test_who_shows_no_trunk_gets_an_upright_square() -> None:
    pose = person(lean_degrees=90.0)
    hidden = pose.scores.copy()
    hidden[[11, 12]] = 0.1
    assert around_pose(replace(pose, scores=hidden)).lean == 0.0


def test_the_square_around_a_box_is_as_for_the_pose_that_fills_it() -> None:
    square = around_box(edges_of(Box(100.0, 50.0, 180.0, 250.0)))
    assert square.side_px == 250.0
    assert square.centre.tolist() == [139.5, 149.5]


def test_those_are_due_first_who_waited_longest() -> None:
    people = People()
    places = [60.0, 220.0, 380.0, 540.0]
    looked = []
    for _ in range(6):
        now = people.seen([seen(person(x=x, trunk_px=40.0)) for x in places])
        for one in most_due(now, people.number, 2, 1):
            one.looked(None, people.number)
            looked.append(now.index(one))
    assert looked == [0, 1, 2, 3] * 3


def test_of_those_who_waited_as_long_the_surest_is_due_first() -> None:
    poses = [replace(person(x=60.0 + 160.0 * n), score=0.1 + 0.1 * n) for n in range(3)]
    box = Candidate(0.9, np.array((500.0, 100.0, 560.0, 300.0)), is_boxed=True)
    now = People().seen([*map(seen, poses), box])
    # Whom the detector alone saw is not last because it was asked last.
    assert [now.index(one) for one in most_due(now, 1, 2, 1)] == [3, 2]


def test_each_person_is_due_once_in_so_many_frames() -> None:
    people = People()
    looked = []
    for _ in range(9):
        (one,) = people.seen([seen(person())])
        for each in most_due([one], people.number, 5, 4):
            each.looked(None, people.number)
            looked.append(people.number)
    assert looked == [1, 5, 9]


def test_who_waits_moves_as_the_finder_saw_them_move() -> None:
    people, first = People(), person(x=200.0)
    (one,) = people.seen([seen(first)])
    refined = replace(first, xy=first.xy + np.array((4.0, -3.0)), score=0.64)
    assert one.looked(refined, people.number)
    for step in (1, 2):
        later = replace(first, xy=first.xy + np.array((10.0 * step, 0.0)), score=0.25)
        (same,) = people.seen([seen(later)])
        same.wait(people.number)
        assert same is one
        assert same.pose is not None
        assert same.pose.xy == pytest.approx(refined.xy + np.array((10.0 * step, 0.0)))
        assert same.pose.score == pytest.approx(0.4)


def test_once_looked_at_the_square_is_around_the_last_refined_pose_moved() -> None:
    people, first = People(), person(x=200.0)
    (one,) = people.seen([seen(first)])
    assert one.square(people.number).centre.tolist() == around_pose(first).centre.tolist()
    refined = replace(first, xy=first.xy + np.array((4.0, -3.0)), score=0.64)
    one.looked(refined, people.number)
    step = np.array((10.0, 0.0))
    (one,) = people.seen([seen(replace(first, xy=first.xy + step))])
    expected = around_pose(replace(refined, xy=refined.xy + step))
    assert one.square(people.number).centre == pytest.approx(expected.centre)
    # After a second without a look the finder's own view counts again.
    for _ in range(30):
        (one,) = people.seen([seen(first)])
    assert one.square(people.number).centre.tolist() == around_pose(first).centre.tolist()


def test_a_detectors_box_is_turned_once_a_look_showed_how_they_lie() -> None:
    people, lying = People(), person(lean_degrees=90.0)
    boxed = Candidate(0.8, box_of(lying))
    (one,) = people.seen([boxed])
    assert one.square(people.number).lean == 0.0
    one.looked(replace(lying, score=0.64), people.number)
    (one,) = people.seen([boxed])
    assert one.square(people.number).lean == pytest.approx(np.radians(90.0), abs=0.05)


def test_a_square_is_turned_along_who_stands_for_a_model_that_wants_it() -> None:
    pose = person(lean_degrees=20.0)
    assert seen(pose).square().lean == 0.0
    assert seen(pose).square(turns=True).lean == pytest.approx(np.radians(20.0), abs=0.05)


@pytest.mark.parametrize("fault", ["nothing", "unsure", "elsewhere"])
def test_a_refined_pose_that_is_not_believed_leaves_the_finders(fault: str) -> None:
    people, pose = People(), person(x=200.0)
    (one,) = people.seen([seen(pose)])
    refined = {
        "nothing": None,
        "unsure": replace(pose, score=0.05),
        "elsewhere": replace(pose, xy=pose.xy + np.array((300.0, 0.0))),
    }[fault]
    assert not one.looked(refined, people.number)
    assert distinct([one]) == [pose]


def test_two_squares_that_show_one_person_give_two_poses_of_two() -> None:
    people, first = People(), person(x=200.0)
    second = person(x=260.0)
    both = people.seen([seen(first), seen(second)])
    assert both[0].looked(replace(first, score=0.9), people.number)
    assert both[1].looked(replace(first, score=0.4), people.number)
    found = distinct(both)
    assert [pose.xy.tolist() for pose in found] == [first.xy.tolist(), second.xy.tolist()]


def looks_of(refiner: Refiner, frames: int, found_ms: float, period_s: float, live: bool) -> int:
    """How many people are looked at in so many frames of five, a look being 1300 s."""
    five = [seen(person(x=60.0 + 120.0 * n, trunk_px=30.0)) for n in range(5)]
    for number in range(frames):
        steps = refiner.refine(picture(number, number * period_s), five, found_ms, live)
        try:
            next(steps)
            while True:
                steps.send(Answer(None, 1.3e6))
        except StopIteration:
            continue
    return int(refiner.counts["refine_looks"])


def test_of_a_camera_refining_takes_no_more_time_than_finding(thunder: Model) -> None:
    busy = Refiner(ModelRunner(0, thunder), 5)
    # 0.75 of 1000 s a frame: 57 looks of 1300 s in 100 frames.
    assert 55 <= looks_of(busy, 100, 1e6, 1e3, live=True) <= 59
    idle = Refiner(ModelRunner(0, thunder), 5)
    # 0.8 of 10000 s less 1000 s are there until the next frame: all five.
    assert looks_of(idle, 10, 1e6, 1e4, live=True) >= 45


def test_of_a_recording_everybody_is_refined_in_every_frame(thunder: Model) -> None:
    assert looks_of(Refiner(ModelRunner(0, thunder), 5), 4, 1e6, 0.1, live=False) == 20
    assert looks_of(Refiner(ModelRunner(0, thunder), 2), 4, 1e6, 0.1, live=False) == 8


def test_a_box_with_a_pose_in_it_is_no_second_person() -> None:
    pose = person(x=200.0)
    box = box_of(pose)
    known = detection(Box(*(box + np.array((-2.0, -2.0, 2.0, 2.0))).tolist()))
    other = detection(Box(500.0, 100.0, 560.0, 300.0))
    found = candidates([pose], [known, other])
    assert [each.pose is None for each in found] == [False, True]
    # The detector's box holds all of the person; of a pose parts may be missing.
    assert found[0].square().side_px == pytest.approx(1.25 * (box[3] - box[1] + 4.0))


def detection(box: Box) -> Any:
    from edgecam.core.result import Decoded, Detection

    return Decoded(detections=(Detection("person", 0, 0.8, box),))


def test_a_recording_gives_the_same_bytes_and_other_poses_than_the_finder_alone() -> None:
    options = ("--threads", 1, "--max-frames", 6, "-m", "posenet")
    first, second = (edgecam("replay", CLIP, *options, "--refine", "thunder") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == 6
    assert first.stdout != edgecam("replay", CLIP, *options).stdout


def test_a_detector_alone_finds_people_for_the_refining_model() -> None:
    flags = {"model.path": ["ssdlite"], "refine": "lightning", "source.url": str(CLIP)}
    shown = Keep()
    last = run(load(None, {}, {**flags, "max_frames": 3}), threading.Event(), extra_sinks=[shown])
    assert last.counters["refine_looks"] >= 3
    for result in shown.results:
        refined = result.by_model["movenet_singlepose_lightning_int8"]
        assert result.detections
        assert 1 <= len(refined.poses) <= len(result.detections)


def test_crops_are_refined_in_turns() -> None:
    flags = {"model.path": ["posenet"], "refine": "lightning", "crop.enabled": True}
    flags |= {"source.url": str(CLIP), "max_frames": 12}
    shown = Keep()
    last = run(load(None, {}, flags), threading.Event(), extra_sinks=[shown])
    people = sum(len(result.poses) for result in shown.results)
    assert 0 < last.counters["refine_looks"] < people / 2
    assert last.counters["crop_frames"] > 0


def test_a_refining_model_that_fails_leaves_what_was_found() -> None:
    flags = {"model.path": ["posenet"], "refine": "lightning", "source.url": str(CLIP)}
    settings = load(None, {}, flags)
    models = load_models(settings)

    def invoke(
        place: int, model: Model, staged: ModelImage, _frame: Frame
    ) -> Sequence[Tensor] | None:
        return None if place == 1 else model.invoke(staged)

    options = DecodeOptions(min_pose_score=0.15)
    for frame in islice(VideoFile(str(CLIP)).frames(), 2):
        roi = RoiController(settings, models)
        refined = run_steps(roi.infer(frame, [True, True], options), invoke)
        plain = run_steps(roi.infer(frame, [True, False], options), invoke)
        assert len(plain.poses) >= 2
        assert [pose.score for pose in refined.poses] == [pose.score for pose in plain.poses]


def test_the_best_accuracy_publishes_no_boxes_of_its_second_finder() -> None:
    frame = next(iter(VideoFile(str(CLIP)).frames()))
    result = Predictor(settings={"accuracy": "best"})(frame.image)
    assert [*result.by_model] == ["posenet_mobilenet_v1_075_int8"]
    assert result.poses
    assert not result.detections


def test_a_single_picture_is_refined_by_itself() -> None:
    frame = next(iter(VideoFile(str(CLIP)).frames()))
    predict = Predictor("posenet", settings={"refine": "lightning"})
    first, second = predict(frame.image), predict(cv2.flip(frame.image, 1))
    again = predict(frame.image)
    assert first.poses
    assert second.poses
    assert [p.xy.tolist() for p in first.poses] == [p.xy.tolist() for p in again.poses]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("-m", "posenet", "--refine", "posenet-fp16"),
            "whole frames; give it as --model",
        ),
        (("-m", "thunder", "--refine", "lightning"), "give it as --refine"),
        (("-m", "documents", "--refine", "thunder"), "add --model posenet"),
        (("-m", "posenet", "--refine", "nothing.tflite"), "nothing.tflite"),
        (("-m", "thunder", "--refine", "thunder"), "given twice"),
        (("-m", "ssdlite:publish=false"), "publish = false is for a detector"),
        (("-m", "posenet:publish=false", "--refine", "thunder"), "publish = false is for a"),
        (("--accuracy", "good"), "accuracy"),
    ],
)
def test_models_in_the_wrong_place_are_refused_in_one_line(
    arguments: tuple[str, ...], said: str
) -> None:
    assert said in error_line(edgecam(*arguments, "-s", CLIP, "--jsonl", "-"))


def test_a_camera_without_a_model_gets_that_of_the_accuracy() -> None:
    done = edgecam("-s", CLIP, "--max-frames", 1, "--jsonl", "-", "--accuracy", "fast")
    assert done.returncode == 0, done.stderr
    assert '"model":"posenet_mobilenet_v1_075_int8"' in done.stdout


def test_a_model_for_one_person_says_once_that_a_whole_frame_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flags: dict[str, Any] = {"model.path": ["lightning"], "source.url": str(CLIP)}
    flags |= {"max_frames": 12, "decode.score_threshold": 0.1, "decode.min_pose_score": 0.0}
    with caplog.at_level(logging.WARNING, "edgecam"):
        run(load(None, {}, flags), threading.Event())
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "--refine movenet_singlepose_lightning_int8" in text] == [
        text for text in said if "square around one person" in text
    ]
    assert len([text for text in said if "square around one person" in text]) == 1


def test_one_person_who_fills_the_frame_needs_no_advice(caplog: pytest.LogCaptureFixture) -> None:
    from edgecam.core.result import Decoded
    from edgecam.pipeline.crop_advice import CropAdvice

    class Single:
        name, for_crops, refines = "thunder", True, False

    models: Any = [Single()]
    advice = CropAdvice(models, lambda result: result)
    large, small = person(y=300.0, trunk_px=110.0), person(trunk_px=20.0)
    with caplog.at_level(logging.WARNING, "edgecam"):
        advice(Result(picture(), {"thunder": Decoded(poses=(large,))}))
        assert not caplog.records
        advice(Result(picture(), {"thunder": Decoded(poses=(small,))}))
        advice(Result(picture(), {"thunder": Decoded(poses=(small,))}))
    assert len(caplog.records) == 1
