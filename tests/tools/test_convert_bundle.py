"""Models in MediaPipe's bundles, and in other zips, come out by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled

MODEL = bundled.resolve("documents").read_bytes()


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


def bundle(folder: Path, name: str = "pose.task", **members: bytes) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("about.txt", "nothing")
        for member, data in members.items():
            packed.writestr(f"{member}.tflite", data)
    return path


@pytest.mark.parametrize("name", ["pose.task", "models.zip"])
def test_the_one_model_and_one_of_several(tmp_path: Path, name: str) -> None:
    output = tmp_path / "out.tflite"
    found = convert(bundle(tmp_path, name, one=MODEL), "-o", output)
    assert found.exit_code == 0, found.output
    assert output.read_bytes() == MODEL
    output.unlink()
    two = bundle(tmp_path, name, detector=MODEL, landmarks=b"x")
    for member in (two / "detector.tflite", f"{two}:detector.tflite"):
        found = convert(member, "-o", output)
        assert found.exit_code == 0, found.output
        assert output.read_bytes() == MODEL
        output.unlink()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("pose.task", "expected one of the models in it, found detector.tflite, landmarks.tflite"),
        ("pose.task/hands.tflite", "found detector.tflite, landmarks.tflite; give"),
        ("pose.task/landmarks.tflite", "landmarks.tflite is not a TFLite model"),
        ("broken.task", "expected a readable zip, found: File is not a zip file"),
        ("broken.task/a.tflite", "expected a readable zip, found: File is not a zip file"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, source: str, expected: str) -> None:
    bundle(tmp_path, detector=MODEL, landmarks=b"x" * 64)
    (tmp_path / "broken.task").write_bytes(b"PK\3\4 no zip")
    found = convert(tmp_path / source, "-o", tmp_path / "out.tflite")
    assert found.exit_code == 1
    assert expected in found.stderr
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "out.tflite").exists()


def test_other_options_do_not_go_with_a_bundle(tmp_path: Path) -> None:
    path = bundle(tmp_path, one=MODEL)
    found = convert(path, "--size", "96x96", "-o", tmp_path / "out.tflite")
    assert "a model comes out of a bundle as it is" in found.stderr
