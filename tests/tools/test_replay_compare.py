import json

from edgecam.tools.evaluate.compare_results import compare


def line(x: float = 10.0, score: float = 0.5, sequence: int = 0, poses: int = 1) -> bytes:
    pose = {"score": score, "keypoints": {"nose": {"x": x, "y": 1.0, "score": 0.9}}}
    return json.dumps({"sequence": sequence, "poses": [pose] * poses}).encode()


def test_equal_bytes_are_equal() -> None:
    outcome = compare([line(), line(sequence=1)], [line(), line(sequence=1)], 0.0)
    assert outcome.equal
    assert outcome.differing == 0
    assert outcome.lines == 2


def test_the_first_difference_is_named() -> None:
    outcome = compare([line(), line(12.0)], [line(), line(12.5)], 0.0)
    assert not outcome.equal
    assert outcome.first == "line 2: poses[0].keypoints.nose.x: expected 12.0, found 12.5"
    assert outcome.largest_px == 0.5


def test_other_bytes_of_the_same_value_differ_without_a_tolerance() -> None:
    spaced = line().replace(b'": ', b'":')
    assert compare([line()], [spaced], 0.0).first == "line 1: its bytes differ"
    assert compare([line()], [spaced], 0.1).equal


def test_a_tolerance_takes_positions_and_one_step_of_score_but_no_other_number() -> None:
    assert compare([line(12.0, 0.5)], [line(12.9, 0.51)], 1.0).equal
    assert not compare([line(12.0)], [line(13.1)], 1.0).equal
    assert not compare([line(score=0.5)], [line(score=0.53)], 1.0).equal
    assert not compare([line(sequence=1)], [line(sequence=2)], 1.0).equal


def test_missing_people_and_lines_are_reported() -> None:
    fewer = compare([line(poses=2)], [line(poses=1)], 5.0)
    assert fewer.first == "line 1: number of poses: expected 2, found 1"
    shorter = compare([line(), line()], [line()], 5.0)
    assert shorter.first == "expected 2 lines, found 1"
    assert not shorter.equal
