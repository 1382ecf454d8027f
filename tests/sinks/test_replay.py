import json
from pathlib import Path

import pytest
from programs import CLIP, edgecam, error_line

from edgecam.core.keypoints import NAMES

FRAMES = 12


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "golden.jsonl"
    done = edgecam("replay", CLIP, "--model", "posenet", "--max-frames", FRAMES, "--write", path)
    assert done.returncode == 0, done.stderr
    return path


def test_the_same_clip_gives_the_same_bytes_twice(golden: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    done = edgecam("replay", CLIP, "--model", "posenet", "--max-frames", FRAMES, "--write", again)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == golden.read_bytes()
    direct = tmp_path / "direct.jsonl"
    done = edgecam(
        *("--model", "posenet", "--source", CLIP, "--max-frames", FRAMES, "--jsonl", direct)
    )
    assert done.returncode == 0, done.stderr
    assert direct.read_bytes() == golden.read_bytes()


def test_every_frame_is_there_in_order_with_the_people_in_it(golden: Path) -> None:
    lines = [json.loads(line) for line in golden.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(FRAMES))
    assert [line["media_time_s"] for line in lines] == [
        pytest.approx(number / 10) for number in range(FRAMES)
    ]
    people = [len(line["poses"]) for line in lines]
    assert min(people) >= 2, people
    for line in lines:
        assert line["frame"] == {"width": 768, "height": 576}
        for pose in line["poses"]:
            assert tuple(pose["keypoints"]) == NAMES
            sure = [p for p in pose["keypoints"].values() if p["score"] > 0.5]
            assert all(-20 < p["x"] < 788 and -20 < p["y"] < 596 for p in sure)


def test_people_stand_upright(golden: Path) -> None:
    """Mirrored or swapped axes would lay them down or turn them over."""
    upright = upside_down = 0
    for line in golden.read_text().splitlines():
        for pose in json.loads(line)["poses"]:
            points = pose["keypoints"]
            for side in ("left", "right"):
                shoulder, ankle = points[f"{side}_shoulder"], points[f"{side}_ankle"]
                if min(shoulder["score"], ankle["score"]) > 0.4:
                    tall = ankle["y"] - shoulder["y"]
                    upright += tall > abs(ankle["x"] - shoulder["x"])
                    upside_down += tall < 0
    assert upright >= 10
    assert upside_down == 0


def test_expect_tells_equal_from_different(golden: Path, tmp_path: Path) -> None:
    arguments = ("replay", CLIP, "--model", "posenet", "--max-frames", FRAMES)
    same = edgecam(*arguments, "--expect", golden)
    assert same.returncode == 0, same.stderr
    assert f"{FRAMES} frames equal" in same.stderr
    lines = golden.read_text().splitlines()
    message = json.loads(lines[4])
    message["poses"][0]["keypoints"]["nose"]["x"] += 1.5
    lines[4] = json.dumps(message, separators=(",", ":"))
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join(lines) + "\n")
    line = error_line(edgecam(*arguments, "--expect", changed))
    assert "line 5: poses[0].keypoints.nose.x" in line
    assert "1 of 12 frames differ" in line
    assert edgecam(*arguments, "--expect", changed, "--tolerance-px", 2).returncode == 0


def test_without_a_golden_file_the_results_go_to_standard_output(golden: Path) -> None:
    done = edgecam("replay", CLIP, "--model", "posenet", "--max-frames", FRAMES)
    assert done.stdout == golden.read_text()


def test_bad_golden_files_and_places_are_refused_before_anything_runs(tmp_path: Path) -> None:
    missing = error_line(edgecam("replay", CLIP, "--model", "posenet", "--expect", "no.jsonl"))
    assert "--expect no.jsonl" in missing
    folder = tmp_path / "none" / "g.jsonl"
    assert "there is no folder" in error_line(
        edgecam("replay", CLIP, "--model", "posenet", "--write", folder)
    )
    clipless = tmp_path / "kept.jsonl"
    error_line(edgecam("replay", "no.mp4", "--model", "posenet", "--write", clipless))
    assert list(tmp_path.iterdir()) == []
