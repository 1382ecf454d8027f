"""The template of CONTRIBUTING.md works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from programs import ROOT

from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference.decoders import FAMILIES, families
from edgecam.inference.decoders.family import FamilyContext

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FLOAT = np.dtype(np.float32)
PICTURE = (TensorInfo(0, "image", (1, 100, 200, 3), FLOAT),)


def outputs(*shapes: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(n + 1, f"out{n}", shape, FLOAT) for n, shape in enumerate(shapes))


def template() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(code)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("rows")
    # A dataclass looks its module up by name.
    monkeypatch.setitem(sys.modules, "rows", module)
    exec(compile(template(), "rows.py", "exec"), module.__dict__)
    return module


def made(rows: ModuleType, *shapes: tuple[int, ...]) -> Decoder | None:
    found: Decoder | None = rows.recognise(
        PICTURE, outputs(*shapes), FamilyContext(labels=("cat",))
    )
    return found


def test_the_decoder_template_finds_what_is_in_its_rows(rows: ModuleType) -> None:
    decoder = made(rows, (1, 3, 7))
    assert decoder is not None
    nan = float("nan")
    tensor = [[0, 0, 0.9, 0.1, 0.2, 0.5, 0.6], [0, 0, 0.2, 0, 0, 1, 1], [0, 0, 0.9, nan, 0, 1, 1]]
    found = decoder([np.array([tensor], np.float32)], DecodeOptions()).detections
    assert [(each.label, round(each.score, 2)) for each in found] == [("cat", 0.9)]
    box = found[0].box
    assert [round(v) for v in (box.x_min, box.y_min, box.x_max, box.y_max)] == [40, 10, 120, 50]


@pytest.mark.parametrize("shapes", [((1, 3, 6),), ((1, 3, 7), (1, 3))])
def test_the_decoder_template_refuses_its_neighbours(
    rows: ModuleType, shapes: tuple[tuple[int, ...], ...]
) -> None:
    assert made(rows, *shapes) is None


def test_no_family_takes_the_templates_model() -> None:
    context = FamilyContext()
    asked = zip(FAMILIES, families(), strict=True)
    taken = {name: f.recognise(PICTURE, outputs((1, 3, 7)), context) for name, f in asked}
    # The page's reader may have added it.
    taken.pop("rows", None)
    assert set(taken.values()) == {None}


def test_the_decoder_template_passes_style_and_types(tmp_path: Path) -> None:
    there = "edgecam/inference/decoders/rows.py"
    ruff = str(Path(sys.executable).parent / "ruff")
    (tmp_path / "rows_template.py").write_text(template(), "utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    for command in (
        [ruff, "check", "--stdin-filename", there, "-"],
        [ruff, "format", "--check", "--stdin-filename", there, "-"],
        [*mypy, str(tmp_path / "rows_template.py")],
    ):
        done = subprocess.run(
            command, cwd=ROOT, input=template(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:edgecam|tests|scripts)/[\w/.-]+)`", PAGE)))
)
def test_a_path_that_contributing_names_exists(path: str) -> None:
    if "rows" not in path and "NAME" not in path:
        assert (ROOT / path).exists()
