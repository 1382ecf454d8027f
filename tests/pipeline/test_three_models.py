"""Poses, pages and classes of one camera: each at its own rate, and one that fails stops none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import letters
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from click.testing import CliRunner
from daemons import Daemon
from programs import ROOT, edgecam

from edgecam.cli.main import cli
from edgecam.core.opencv import cv2

POSES, PAGES = "posenet:input_size=257x337", "documents:rate_hz=5"
FRAMES, FRAME_HZ = 40, 10
FAILING = ROOT / "tests" / "data" / "models" / "fails_on_bright.tflite"
NAMES = ("posenet_mobilenet_v1_075_int8", "hed_mobilenet_v2_documents_int8", "letters")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    letters.write(folder / "pictures", 20, seed=1)
    path = folder / "letters.tflite"
    command = ["teach", str(folder / "pictures"), "-o", str(path), "--input-size", "129x161"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("door") / "frames"
    return folder, letters.record(folder, FRAMES, seed=2)


def models(taught: Path) -> tuple[str, ...]:
    return ("-m", POSES, "-m", PAGES, "-m", f"{taught}:rate_hz=2")


def test_each_model_looks_at_its_own_rate_and_finds_what_is_its_own(
    taught: Path, recording: tuple[Path, list[Any]]
) -> None:
    folder, where = recording
    done = edgecam(
        *(*models(taught), "-s", folder, "--threads", 1, "--jsonl", "-"),
        EDGECAM_SOURCE_RATE_HZ=str(FRAME_HZ),
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    looked = [[n for n, each in enumerate(results) if name in each["model"]] for name in NAMES]
    assert looked == [list(range(FRAMES)), list(range(0, FRAMES, 2)), list(range(0, FRAMES, 5))]
    for number, (found, corners) in enumerate(zip(results, where, strict=True)):
        pages = found.get("documents", [])
        assert len(pages) == (number in looked[1] and corners is not None), number
        for page in pages:
            seen = np.array([(corner["x"], corner["y"]) for corner in page["corners"]])
            errors = [np.abs(np.roll(seen, turn, 0) - corners).max() for turn in range(4)]
            assert min(errors) < 4.0
        classes = found.get("classes", [])
        assert bool(classes) == (number in looked[2])
        if classes:
            assert classes[0]["label"] == ("nothing" if corners is None else "letter")
    assert sum(bool(each["poses"]) for each in results) > 0.9 * FRAMES


def test_the_stage_table_shows_each(taught: Path, recording: tuple[Path, list[Any]]) -> None:
    folder, _ = recording
    done = edgecam(
        *("bench", POSES, PAGES, f"{taught}:rate_hz=2", "-s", folder, "--rounds", 1, "--json"),
        EDGECAM_SOURCE_RATE_HZ=str(FRAME_HZ),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    stages = {f"{name}: {stage}" for name in NAMES for stage in ("preprocess", "invoke", "decode")}
    assert set(report["stages"]) == {"capture to publish", *stages}
    assert all(report["stages"][stage]["p50"] > 0.0 for stage in stages)
    assert report["looks"] == pytest.approx(dict(zip(NAMES, (1.0, 0.5, 0.2), strict=True)))


@pytest.fixture
def camera(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Daemon]:
    """Live: dark for 2 s, then bright for 6 s; the classifier fails on what is bright."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, level in enumerate([20] * 20 + [235] * 60):
        cv2.imwrite(str(folder / f"{number:04}.png"), np.full((64, 64, 3), level, np.uint8))
    daemon = Daemon(
        tmp_path,
        *("-m", "posenet:input_size=129x161", "-m", PAGES, "-m", f"{FAILING}:rate_hz=4"),
        *("--threads", "1", "--broker", mosquitto.url, "-s", folder, "--realtime", "--loop"),
        EDGECAM_SOURCE_RATE_HZ=str(FRAME_HZ),
    )
    yield daemon
    daemon.close()


def test_the_classifier_fails_and_the_others_keep_their_rates(
    camera: Daemon, subscriber: Subscriber
) -> None:
    camera.wait_ready()

    def reported() -> list[dict[str, Any]]:
        report = subscriber.last("edgecam/camera/telemetry")
        return list(json.loads(report)["models"]) if report else []

    def states() -> list[str]:
        return [each["state"] for each in reported()]

    assert wait_until(lambda: states() == ["running", "running", "failed"], 15), states()
    assert [each["rate_hz"] for each in reported()] == [None, 5.0, 4.0]
    began = len(subscriber.of("edgecam/camera/result"))
    messages = subscriber.wait_for("edgecam/camera/result", began + 20)[began:]
    names = [json.loads(each.payload)["model"].split("+") for each in messages]
    assert all(NAMES[0] in each for each in names)
    # At 5 Hz it sees some of the camera's 10 Hz, and all of them where the machine has no more.
    assert sum(NAMES[1] in each for each in names) >= 5
    assert wait_until(lambda: states() == ["running"] * 3, 15), states()
    assert camera.stop()[0] == 0
