"""Marked pictures: what is marked, how precision counts, and that it is COCO's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.errors import EdgecamError
from edgecam.core.keypoints import INDEX
from edgecam.core.result import Pose
from edgecam.tools.evaluate.marked import Marked, average_precision, read, shipped, turned

# Clips by others, where they are at hand; the bundled one is always.
CLIPS = Path(__file__).parents[3] / "shared" / "media" / "clips"
ASL = Path(__file__).parents[1] / "data" / "asl_people.json"
MOST_BONE = {("left_shoulder", "left_elbow"), ("right_hip", "right_knee")}


@pytest.fixture(scope="module")
def pictures() -> tuple[Marked, ...]:
    return read(shipped())


def test_people_enough_are_marked_in_frames_enough(pictures: tuple[Marked, ...]) -> None:
    asl = json.loads(ASL.read_text())["pictures"]
    frames = [p for p in pictures if ".mp4 " in str(p.frame.file)]
    people = sum(len(p.people) for p in frames) + sum(len(entry["people"]) for entry in asl)
    assert len(frames) + len(asl) >= 20
    assert people >= 60


def test_marks_lie_in_their_pictures_and_make_people(pictures: tuple[Marked, ...]) -> None:
    for picture in pictures:
        for person in picture.people:
            marked = person.scores > 0.5
            assert marked.sum() >= 4, picture.frame.file
            xy = person.xy[marked]
            size = (picture.frame.width_px, picture.frame.height_px)
            assert (xy >= 0).all(), picture.frame.file
            assert (xy < size).all(), picture.frame.file
            for bone in MOST_BONE:
                ends = [INDEX[name] for name in bone]
                if marked[ends].all():
                    length = float(np.linalg.norm(np.subtract(*person.xy[ends])))
                    assert length < 0.7 * max(np.ptp(xy, axis=0)), (picture.frame.file, bone)


def test_the_pictures_are_those_of_their_origin() -> None:
    for entry in json.loads(shipped().read_text())["pictures"]:
        if "picture" in entry:
            data = (shipped().parent / entry["picture"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert entry["licence"] in ("public domain", "CC0-1.0")
            assert entry["origin"]


def test_what_is_marked_is_found_whole(pictures: tuple[Marked, ...]) -> None:
    truth = [picture.people for picture in pictures]
    assert average_precision(pictures, truth) == 1.0
    assert average_precision(pictures, [()] * len(pictures)) == 0.0
    moved = [[replace(p, xy=p.xy + 400.0) for p in people] for people in truth]
    assert average_precision(pictures, moved) == 0.0


def test_a_false_one_before_the_right_one_halves_precision(pictures: tuple[Marked, ...]) -> None:
    (picture,) = [p for p in pictures if p.frame.file == "astronaut.jpg"]
    (person,) = picture.people
    other = replace(person, xy=person.xy + 300.0)
    assert average_precision([picture], [[person, replace(other, score=0.5)]]) == 1.0
    assert average_precision([picture], [[replace(person, score=0.5), other]]) == 0.5
    around = np.array([[0.0, 0.0, 2000.0, 2000.0]])
    unmarked = replace(picture, unmarked=around)
    assert average_precision([unmarked], [[replace(person, score=0.5), other]]) == 1.0


def test_a_picture_and_its_marks_turn_together(pictures: tuple[Marked, ...]) -> None:
    picture = next(p for p in pictures if len(p.unmarked))
    once = turned(picture, 90)
    assert once.frame.width_px == picture.frame.height_px
    back = turned(once, 270)
    assert np.array_equal(back.frame.image, picture.frame.image)
    assert np.allclose(back.unmarked, picture.unmarked)
    for before, after in zip(picture.people, back.people, strict=True):
        assert np.allclose(before.xy, after.xy)


def test_precision_is_that_of_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    random = np.random.default_rng(7)
    pictures, found = _crowd(random)
    truth, seen = coco.COCO(), []
    truth.dataset = _as_coco(pictures)
    truth.createIndex()
    for number, poses in enumerate(found):
        for pose in poses:
            flat = np.column_stack((pose.xy, pose.scores)).ravel().tolist()
            entry = {"image_id": number, "category_id": 1, "keypoints": flat}
            seen.append({**entry, "score": pose.score})
    run = evaluation.COCOeval(truth, truth.loadRes(seen), "keypoints")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert average_precision(pictures, found) == pytest.approx(run.stats[0], abs=1e-9)
    assert 0.2 < run.stats[0] < 0.9


def _crowd(random: np.random.Generator) -> tuple[list[Marked], list[list[Pose]]]:
    from edgecam.core.frame import Frame

    pictures, found = [], []
    for number in range(6):
        people = [
            Pose(1.0, random.uniform(0, 120, (17, 2)) + 150 * place, np.ones(17))
            for place in range(3)
        ]
        frame = Frame(np.zeros((480, 640, 3), np.uint8), number, 0.0, 0.0)
        pictures.append(Marked(frame, tuple(people), np.zeros((0, 4))))
        found.append(
            [
                replace(p, xy=p.xy + random.normal(0, random.uniform(1, 12), (17, 2)), score=score)
                for p, score in zip([*people, people[0]], random.uniform(0, 1, 4), strict=True)
            ]
        )
    return pictures, found


def _as_coco(pictures: list[Marked]) -> dict[str, object]:
    annotations = []
    for number, picture in enumerate(pictures):
        for person in picture.people:
            low, high = person.xy.min(axis=0), person.xy.max(axis=0)
            flat = np.column_stack((person.xy, np.full(17, 2))).ravel().tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": float((high - low).prod()),
                    "num_keypoints": 17,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "keypoints": flat,
                }
            )
    images = [{"id": n, "width": 640, "height": 480} for n in range(len(pictures))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1}]}


def test_a_file_of_another_kind_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('{"pictures": [{"clip": 3}]}')
    with pytest.raises(EdgecamError, match="expected marked pictures") as failed:
        read(path)
    assert "\n" not in str(failed.value)


@pytest.mark.long
def test_crops_that_are_refined_see_people_better_than_whole_frames_do() -> None:
    import score_marked

    found = {}
    for clip, people in score_marked.clips(CLIPS):
        for name in ("whole frames", "[crop], thunder", "whole frames, thunder on all"):
            each = score_marked.score(clip, people, score_marked.WAYS[name])
            found[name] = found.get(name, 0.0) + each.mean_oks * each.people
    assert found["[crop], thunder"] > found["whole frames"]
    assert found["whole frames, thunder on all"] > found["whole frames"]
