"""edgecam as a Python package: the scripts of docs/from-python.md, and what a program relies on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from brokers import wait_until
from programs import CLIP, ROOT, edgecam, environment

import edgecam as package
from edgecam.core.opencv import cv2
from edgecam.messages import result as messages
from tests.servers import Server

PICTURES = {"max_frames": 6}


def scripts() -> list[str]:
    """The page's Python, as it stands there."""
    text = (ROOT / "docs" / "from-python.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def run_script(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "people-walking.mp4").symlink_to(CLIP)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(EDGECAM_CACHE_DIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_script_of_the_page(tmp_path: Path) -> None:
    script = scripts()[0]
    assert len(script.splitlines()) <= 10
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 80, "most of the 100 frames show a person"
    assert all(re.search(r"nose at \d+, \d+$", line) for line in lines), lines[0]


def test_the_scripts_pass_a_strict_type_check(tmp_path: Path) -> None:
    for number, script in enumerate(scripts()):
        (tmp_path / f"script{number}.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_same_results_as_the_program() -> None:
    arguments = ("--model", "posenet", "--source", CLIP, "--max-frames", "6", "--jsonl", "-")
    lines = edgecam(*arguments).stdout.splitlines()
    found = list(package.results(CLIP, "posenet", settings=PICTURES))
    assert len(found) == len(lines) == 6
    for result, line in zip(found, lines, strict=True):
        ours = json.loads(messages.result_payload(result, "camera", "", 0.0))
        assert ours["poses"] == json.loads(line)["poses"]
    nose = found[0].poses[0].keypoints["nose"]
    assert (nose.x, nose.y) == tuple(found[0].poses[0].xy[0])
    assert found[0].insight is not None


WIRINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "motion": {"motion.enabled": True},
    "crop": {"crop.enabled": True},
    "cascade": {"crop.enabled": True, "crop.look": "detector"},
    "rates": {},
}


@pytest.mark.parametrize("wiring", WIRINGS)
def test_results_are_those_of_the_program_in_every_wiring(wiring: str, tmp_path: Path) -> None:
    rate = ":rate_hz=2" if wiring == "rates" else ""
    models = ["posenet"] if wiring in ("plain", "motion", "crop") else ["posenet", f"ssdlite{rate}"]
    settings = {**WIRINGS[wiring], "max_frames": 12}
    lines = ["max_frames = 12"]
    for key, value in WIRINGS[wiring].items():
        section, _, name = key.partition(".")
        header = f"[{section}]"
        lines += [header] if header not in lines else []
        lines.append(f"{name} = {json.dumps(value)}")
    config = tmp_path / "camera.toml"
    config.write_text("\n".join(lines) + "\n")
    named = [flag for model in models for flag in ("--model", model)]
    done = edgecam(*named, "--config", config, "--source", CLIP, "--jsonl", "-")
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    found = list(package.results(CLIP, models, settings=settings))
    assert len(found) == len(theirs) > 0
    for result, line in zip(found, theirs, strict=True):
        ours = json.loads(messages.result_payload(result, "camera", "", 0.0))
        assert ours["poses"] == line["poses"]
        assert ours["detections"] == line["detections"]
    if wiring == "crop":
        plain = list(package.results(CLIP, models, settings={"max_frames": 12}))
        where = [[pose.xy.tolist() for pose in result.poses] for result in found]
        assert where != [[pose.xy.tolist() for pose in result.poses] for result in plain]


def test_results_leave_the_switching_of_threads_as_it_was() -> None:
    before = sys.getswitchinterval()
    for _ in package.results(CLIP, "posenet", settings={"max_frames": 2}):
        assert sys.getswitchinterval() == before
    assert sys.getswitchinterval() == before


def test_importing_it_is_light_and_leaves_signals_alone() -> None:
    code = (
        "import signal, sys\n"
        "before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        "import edgecam\n"
        "assert not {'numpy', 'cv2', 'msgspec'} & sys.modules.keys()\n"
        f"for _ in edgecam.results({str(CLIP)!r}, 'posenet', settings={{'max_frames': 2}}): pass\n"
        "assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        "assert not {'paho', 'rich', 'click', 'asyncio'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(EDGECAM_MODEL="nonsense", EDGECAM_SOURCE_URL="nonsense"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_every_name_of_the_package_can_be_imported_and_is_listed() -> None:
    assert set(package.__all__) == set(dir(package))
    assert {"Event", "Insight", "Classification", "Document"} <= set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_letting_go_closes_everything() -> None:
    before = set(threading.enumerate())
    for result in package.results(CLIP, "posenet"):
        assert result.frame.sequence == 0
        break
    del result
    # A thread inside a network is let go of once that returns.
    assert wait_until(lambda: set(threading.enumerate()) == before, 60.0)
    with package.results(CLIP, ["posenet-fp16", "ssdlite"]) as results:
        assert set(next(results).by_model) == {
            "posenet_mobilenet_v1_075_fp16",
            "ssdlite_mobilenet_v2_pedestrian_int8",
        }
        assert not results.live
    assert wait_until(lambda: set(threading.enumerate()) == before, 60.0)
    with pytest.raises(StopIteration):
        next(results)
    results.close()


def test_a_live_source_gives_its_newest_and_closes_at_once() -> None:
    with Server("mjpeg.py") as camera:
        camera.tell("good")
        with package.results(f"http://127.0.0.1:{camera.port}/stream", "posenet-fp16") as results:
            assert results.live
            first = next(results)
            time.sleep(2.0)
            stale, newest = next(results), next(results)
        assert newest.frame.sequence > stale.frame.sequence > first.frame.sequence
        # Others came meanwhile; a reader need not look at them all.
        assert newest.frame.sequence > first.frame.sequence + 2
        waiting = package.results(f"http://127.0.0.1:{camera.port}/stream", "posenet-fp16")
        camera.tell("stall")
        threading.Timer(0.5, waiting.close).start()
        assert len(list(waiting)) < 20


def test_ctrl_c_is_the_callers(tmp_path: Path) -> None:
    """Ctrl-C reaches the program's own loop, and the process ends."""
    code = (
        "import signal\n"
        # People who run the tests in the background have Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import edgecam\n"
        f"for _ in edgecam.results({str(CLIP)!r}, 'posenet', settings={{'source.loop': True}}):\n"
        "    print('.', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(EDGECAM_CACHE_DIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == ".\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert said.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": "missing.mp4", "model": "posenet"}, "missing.mp4"),
        ({"source": CLIP, "model": "missing"}, "no such file and no bundled model"),
        ({"source": CLIP, "model": "posenet", "settings": {"decode.nonsense": 1}}, "nonsense"),
        ({"source": CLIP, "model": "posenet", "config": "missing.toml"}, "missing.toml"),
        ({"source": CLIP, "model": []}, "model: expected a model's name or path"),
        ({"source": CLIP, "model": 5}, "such as 'posenet', or a list of them, found 5"),
        ({"source": CLIP, "model": ["posenet", None]}, "found None"),
        ({"source": CLIP, "model": b"posenet"}, "found b'posenet'"),
        ({"source": CLIP, "model": "pose\0net"}, "model.path: expected text, found a NUL byte"),
        (
            {"source": 1.5, "model": "posenet"},
            "source: expected a camera's number, a path or a URL",
        ),
        ({"source": True, "model": "posenet"}, "found True"),
        ({"source": [CLIP], "model": "posenet"}, "source: expected"),
        ({"source": "a\0b", "model": "posenet"}, "source.url: expected text, found a NUL byte"),
        ({"source": "rtsp://a\0b/", "model": "posenet"}, "source.url: expected text"),
        ({"source": "a\ud800", "model": "posenet"}, "found half a character"),
        ({"source": CLIP, "config": 5}, "config: expected the path of a TOML file, found 5"),
        ({"source": CLIP, "config": "a\0b"}, "--config: expected text, found a NUL byte"),
        ({"source": CLIP, "settings": 5}, "settings: expected keys and values"),
        ({"source": CLIP, "settings": "decode"}, "settings: expected keys and values"),
        ({"source": CLIP, "settings": {1: 2}}, "unknown key 1"),
        ({"source": CLIP, "settings": {"model.path": 5}}, "model: expected"),
        ({"source": CLIP, "settings": {"zone.name": "a"}}, "expected zone.name in a file"),
        (
            {"source": CLIP, "settings": {"decode.score_threshold": "x"}},
            "settings: decode.score_threshold: Expected a number, found 'x'",
        ),
    ],
)
def test_faults_are_one_line_of_one_kind(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(package.EdgecamError) as caught:
        package.results(**arguments)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_and_paths_are_settings_too(tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    cv2.imwrite(str(picture), np.zeros((48, 64, 3), np.uint8))
    given = {"decode.score_threshold": np.float32(0.5), "max_frames": np.int64(1)}
    wanted = {**given, "output.jsonl": tmp_path / "lines"}
    assert len(list(package.results(picture, "posenet", settings=wanted))) == 1


def test_single_pictures(tmp_path: Path) -> None:
    first = next(package.results(CLIP, "posenet", settings={"tracking.enabled": False}))
    assert package.Finder is package.Predictor
    find = package.Predictor("posenet")
    again = find(first.frame.image)
    assert len(again.poses) == len(first.poses) > 0
    for ours, theirs in zip(again.poses, first.poses, strict=True):
        np.testing.assert_array_equal(ours.xy, theirs.xy)
    assert not find(np.zeros((48, 64, 3), np.uint8)).poses
    with pytest.raises(package.EdgecamError, match="does cv2"):
        find(cv2.imread("missing.jpg"))
    for nothing in (5, "street.jpg", [[1]]):
        with pytest.raises(package.EdgecamError, match=r"expected a picture .*, found"):
            find(nothing)  # type: ignore[arg-type]
    with pytest.raises(package.EdgecamError, match=r"found float64\[48, 64\]"):
        find(np.zeros((48, 64)))
    picture = tmp_path / "one.png"
    cv2.imwrite(str(picture), first.frame.image)
    (only,) = package.results(picture, "posenet")
    assert only.frame.file == "one.png"
    assert len(only.poses) == len(first.poses)
