"""What is installed from the wheel is whole: it works far from the checkout."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgecam.core.version import __version__
from edgecam.inference import catalog as bundled

ROOT = Path(__file__).parent.parent
LIMIT_BYTES = 25_000_000


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True)
    return folder


def run(installed: Path, *arguments: str) -> str:
    """Run the installed program, with this environment's dependencies, far from the checkout."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_holds_every_file_of_models_and_systemd(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {info.filename: info.file_size for info in archive.infolist()}
    for folder in ("models", "systemd"):
        listed = subprocess.run(
            ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if listed.returncode:
            pytest.skip("not a git checkout: nothing to compare with")
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).name != ".gitkeep":
                size = packed.get(f"edgecam/data/{name}")
                assert size == (ROOT / name).stat().st_size, name
    assert any(name.endswith("/licenses/LICENSE") for name in packed)
    assert "edgecam/py.typed" in packed
    pages = (ROOT / "edgecam" / "sinks" / "web" / "page").iterdir()
    assert {f"edgecam/sinks/web/page/{path.name}" for path in pages} <= set(packed)
    assert not [name for name in packed if name.startswith(("tests", "scripts", "models"))]
    assert wheel.stat().st_size < LIMIT_BYTES


def test_finds_its_models_and_clip(installed: Path) -> None:
    code = (
        "from edgecam.inference import catalog; "
        "print(catalog.clip(), *(c.file for c in catalog.cards()))"
    )
    clip, *models = map(Path, run(installed, "-c", code).split())
    home = installed / "edgecam" / "data" / "models"
    assert clip.parent == home / "clips"
    assert clip.is_file()
    assert [model.name for model in models] == [card.file.name for card in bundled.cards()]
    assert any(model.name.startswith("posenet_") for model in models)
    assert all(model.parent == home and model.is_file() for model in models)


def test_does_its_main_job(installed: Path) -> None:
    clip = next((installed / "edgecam/data/models/clips").glob("*.mp4"))
    arguments = ["--model", "posenet", "--source", str(clip), "--max-frames", "3", "--jsonl", "-"]
    lines = run(installed, "-m", "edgecam", *arguments).splitlines()
    assert len(lines) == 3
    assert all(json.loads(line)["poses"] for line in lines)
    script = installed / "bin" / "edgecam"
    assert run(installed, str(script), "--version").split()[-1] == __version__


def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == "<3.15,>=3.11"
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def test_the_licence_is_that_of_the_code_and_of_the_models_with_their_texts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        texts = {n: archive.read(n).decode() for n in archive.namelist() if "/licenses/" in n}
    assert metadata["License-Expression"] == "Apache-2.0 AND MIT"
    holders = {card.fields.get("copyright") for card in bundled.cards()} - {None}
    for card in bundled.cards():
        if card.fields["licence"] == "MIT":
            holder = str(card.fields["copyright"])
            named = [re.search(r"Copyright \(c\) \d+ (.+)", text) for text in texts.values()]
            assert any(found and found[1].strip() in holder for found in named), (holder, holders)
    assert all("Permission is hereby granted" in t for n, t in texts.items() if "MIT" in n)


def test_the_long_description_has_no_link_that_leads_nowhere(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    text = str(metadata.get_payload())
    assert "scripts/demo" in text
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def chosen(wheel: Path, machine: str, extra: str = "") -> dict[str, str]:
    """Name and version specifiers of what is installed on a kind of machine."""
    environment = {"platform_machine": machine, "sys_platform": "linux", "extra": extra}
    found: dict[str, str] = {}
    for wanted in requirements(wheel):
        if wanted.marker is None or wanted.marker.evaluate(environment):
            found[wanted.name] = ",".join(
                filter(None, (found.get(wanted.name), str(wanted.specifier)))
            )
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_litert_is_the_runtime_where_it_has_wheels(wheel: Path, machine: str) -> None:
    found = chosen(wheel, machine)
    assert "ai-edge-litert" in found
    assert "tflite-runtime" not in found
    assert "<2" not in found["numpy"]


def test_on_armv7_it_is_tflite_runtime_with_an_old_numpy(wheel: Path) -> None:
    found = chosen(wheel, "armv7l")
    assert "ai-edge-litert" not in found
    assert "tflite-runtime" in found
    assert "<2" in found["numpy"]
    assert "<4.12" in found["opencv-python"]


def test_the_extra_brings_it_anywhere(wheel: Path) -> None:
    found = chosen(wheel, "x86_64", "tflite-runtime")
    assert "tflite-runtime" in found
    assert "<2" in found["numpy"]
    assert "<4.12" in found["opencv-python"]
