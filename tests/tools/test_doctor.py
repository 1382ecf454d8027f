"""``edgecam doctor`` beside planted faults: each must be found, with its remedy."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto, free_port
from daemons import delegate_library
from doctors import DOCTOR, Report, examine, toml
from programs import ROOT, shared

from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.settings.load import load
from edgecam.settings.schema import Settings
from edgecam.sources.remedies import OF_CAMERA
from edgecam.tools.doctor import CHECKS, inference
from edgecam.tools.doctor.cameras import camera_name

SITE = Path(np.__file__).parent.parent


def test_here_everything_needed_works() -> None:
    report = examine()
    assert {finding["check"] for finding in report.findings} >= {name for name, *_ in CHECKS} - {
        "source"
    }
    assert not [f for f in report.findings if f["level"] == "fail"]
    assert report.code == 0
    assert len(report.of("model", "ok")) == len(bundled.cards()) > 0
    assert "NumPy " + np.__version__ in report.of("runtime")[0]["text"]
    for finding in report.findings:
        assert (finding["remedy"] is None) == (finding["level"] == "ok"), finding


def test_what_the_settings_name_is_tried(
    tmp_path: Path, make_mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = make_mosquitto()
    broker.start()
    text = f'[source]\nurl = "{bundled.clip()}"\n[mqtt]\nurl = "{broker.url}"\n'
    report = examine("source", "broker", config=toml(tmp_path, text))
    assert report.code == 0, report.findings
    assert "a picture of 768x576" in report.only("source", "ok")[0]
    assert "answers and takes the login" in report.of("broker", "ok")[0]["text"]


def test_four_faults_in_the_settings_are_four_lines(tmp_path: Path) -> None:
    text = f"""
        [[model]]
        path = "{tmp_path}/missing.tflite"
        [source]
        url = "/dev/video97"
        [inference]
        delegate = "/nonexistent/libdelegate.so"
        [mqtt]
        url = "mqtt://127.0.0.1:{free_port()}"
    """
    named = ("model", "source", "delegate", "broker")
    report = examine(*named, config=toml(tmp_path, text))
    assert {finding["check"] for finding in report.findings} == set(named)
    assert report.code == 1
    model, remedy = report.only("model", "fail")
    assert "missing.tflite" in model
    assert remedy
    source, remedy = report.only("source", "fail")
    assert "no such camera" in source
    assert remedy == OF_CAMERA["missing"]
    delegate, remedy = report.only("delegate", "fail")
    assert "/nonexistent/libdelegate.so does not load" in delegate
    assert "inference.delegate" in remedy
    broker, remedy = report.only("broker", "fail")
    assert "connection refused" in broker
    assert "mqtt.url" in remedy


@pytest.mark.parametrize(
    ("options", "required", "level", "said"),
    [
        ("take=all", False, "ok", "libnoop.so takes 93 of 93 nodes of posenet"),
        ("take=none", False, "warn", "takes none of the nodes of"),
        ("refuse=no device", False, "fail", "no device"),
        ("prepare=crash", False, "warn", "SIGABRT"),
        ("prepare=error", True, "fail", "delegate application failure"),
    ],
)
def test_a_delegate_says_how_many_nodes_it_took(
    tmp_path: Path, options: str, required: bool, level: str, said: str
) -> None:
    text = f"""
        inference.delegate = "{delegate_library(tmp_path)}:{options}"
        inference.delegate_required = {str(required).lower()}
        model = [{{path = "posenet-fp16"}}]
    """
    settings = load(toml(tmp_path, text), {}, {})
    (line,) = [f for f in inference.delegates(settings) if "not asked for" not in f.text]
    assert line.level == level
    assert said in line.text
    assert (line.remedy is None) == (level == "ok")
    if level != "ok":
        assert "inference.delegate to auto" in (line.remedy or "")


def test_settings_that_cannot_be_read_do_not_end_the_examination(tmp_path: Path) -> None:
    report = examine("runtime", config=toml(tmp_path, "[sauce]\nurl = 1\n"))
    assert report.code == 1
    assert "did you mean 'source'" in report.only("settings", "fail")[0]
    assert report.of("runtime", "ok") or report.of("runtime", "warn")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program with its models, which may be damaged."""
    shutil.copytree(ROOT / "edgecam", tmp_path / "edgecam", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(ROOT / "models", tmp_path / "models")
    return tmp_path


def test_a_damaged_model_is_known_by_its_card(copy: Path) -> None:
    model = copy / "models" / bundled.cards()[0].file.name
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 0xFF
    model.write_bytes(data)
    report = examine("model", cwd=copy)
    text, remedy = report.only("model", "fail")
    assert f"{model} does not match its card" in text
    assert "install it again" in remedy
    assert len(report.of("model", "ok")) == len(bundled.cards()) - 1


def test_an_installation_without_models(copy: Path) -> None:
    shutil.rmtree(copy / "models")
    text, remedy = examine("model", cwd=copy).only("model", "fail")
    assert "no bundled models" in text
    assert remedy == "install edgecam again"


def examine_without(folder: Path, check: str, *packages: str) -> Report:
    """In this environment, but for some packages."""
    for part in SITE.iterdir():
        if not part.name.startswith((*packages, "__pycache__")):
            (folder / part.name).symlink_to(part)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "edgecam", "doctor", check, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Report(done)


def test_opencv_is_not_installed(tmp_path: Path) -> None:
    report = examine_without(tmp_path, "opencv", "cv2", "opencv")
    assert report.code == 1
    assert report.only("opencv", "fail")[1] == "pip install opencv-python"


def test_no_runtime_is_installed(tmp_path: Path) -> None:
    report = examine_without(tmp_path, "runtime", "ai_edge_litert", "tflite_runtime", "tensorflow")
    assert report.code == 1
    text, remedy = report.only("runtime", "fail")
    assert text == "no TFLite runtime found"
    assert remedy.startswith("run: pip install ai-edge-litert (x86-64, aarch64) or ")


def test_a_model_for_an_edge_tpu_that_is_not_there(tmp_path: Path) -> None:
    model = shared("models", "posenet_mobilenet_v1_075_353_481_quant_decoder_edgetpu.tflite")
    report = examine("model", config=toml(tmp_path, f'model = [{{path = "{model}"}}]\n'))
    text, remedy = report.only("model", "fail")
    assert "compiled for the Edge TPU, but libedgetpu.so.1 does not load" in text
    assert remedy == "attach one and install libedgetpu1-std, or take the file for the CPU"
    assert report.code == 1


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="this environment has NumPy 1")
def test_a_tflite_runtime_that_cannot_work_here(tflite_runtime: Path) -> None:
    report = examine("runtime", PYTHONPATH=str(tflite_runtime))
    text, remedy = report.only("runtime", "warn")
    assert "tflite-runtime 2.14.0 needs NumPy below 2" in text
    assert "pip install 'numpy<2' 'opencv-python<4.12'" in remedy
    assert report.only("runtime", "ok")[0].startswith("ai-edge-litert")


def test_in_words_each_remedy_follows_its_line(tmp_path: Path) -> None:
    config = toml(tmp_path, '[source]\nurl = "/dev/video97"\n')
    done = subprocess.run(
        [*DOCTOR, "source", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.startswith("fail  source")]
    assert lines[place + 1].strip() == f"-> {OF_CAMERA['missing']}"
    assert lines[-1].endswith("1 failures")


@pytest.mark.parametrize(
    ("driver", "bus", "device_caps", "expected"),
    [
        (b"uvcvideo", b"usb-0000:01:00.0-1.2", 0x04200001, "HD Webcam"),
        (b"uvcvideo", b"usb-0000:01:00.0-1.2", 0x04A00000, None),  # its metadata node
        (b"bcm2835-codec", b"platform:bcm2835-codec", 0x04204000, None),  # a video decoder
        (b"unicam", b"platform:fe801000.csi", 0x25A00001, None),  # raw, needs libcamera
        (b"rp1-cfe", b"platform:1f00128000.csi", 0x25A00001, None),
        (b"mtk-cam", b"platform:mtk-cam", 0x25200001, None),  # set up by the media controller
        (b"vivid", b"platform:vivid-000", 0x05200001, "HD Webcam"),
        (b"v4l2 loopback", b"platform:v4l2loopback-000", 0x05200001, "HD Webcam"),
    ],
)
def test_cameras_are_known_from_other_video_devices(
    driver: bytes, bus: bytes, device_caps: int, expected: str | None
) -> None:
    # A camera's two nodes state the same for the whole device: only device_caps differ.
    whole = 0x84A00001
    raw = struct.pack("16s32s32sIII12x", driver, b"HD Webcam", bus, 0x60100, whole, device_caps)
    assert camera_name(raw) == expected


def test_what_the_extra_installed_is_not_to_be_uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """[tflite-runtime] puts it beside LiteRT: slow with int8 on x86-64, and what was asked for."""
    asked_for = runtime.Runtime("tflite-runtime", "2.14.0", None)
    monkeypatch.setattr(runtime, "find", lambda: asked_for)
    monkeypatch.setattr(runtime, "survey", lambda: (asked_for, ()))
    monkeypatch.setattr(runtime.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(inference, "_cannot_run", lambda: None)
    (found,) = inference.runtimes(Settings())
    assert found.level == "warn"
    assert "uninstall" not in f"{found.text} {found.remedy}"
    assert "posenet-fp16" in (found.remedy or "")
