"""The templates of CONTRIBUTING.md work as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest
from programs import ROOT
from skeletons import person

from edgecam.analysis.events.rule import Asked
from edgecam.analysis.scene import Scene, Subject
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.rules import RULES
from edgecam.core.tensors import TensorInfo
from edgecam.inference.decoders import FAMILIES, families
from edgecam.inference.decoders.family import FamilyContext

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FLOAT = np.dtype(np.float32)
PICTURE = (TensorInfo(0, "image", (1, 100, 200, 3), FLOAT),)


def outputs(*shapes: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(n + 1, f"out{n}", shape, FLOAT) for n, shape in enumerate(shapes))


# Where the page puts each of its templates.
DECODER, RULE = "edgecam/inference/decoders/rows.py", "edgecam/analysis/events/near.py"
TEMPLATES = dict(
    zip(
        (DECODER, RULE),
        re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)


def loaded(place: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType(Path(place).stem)
    # A dataclass looks its module up by name.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(TEMPLATES[place], place, "exec"), module.__dict__)
    return module


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded(DECODER, monkeypatch)


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


def near(share: float) -> Subject:
    """A person as tall as this share of a picture of 100 pixels."""
    return Subject(1, "person", 0.9, np.array([0.0, 0.0, 30.0, 100.0 * share]), 0.0, person())


def test_the_rule_template_reports_once_who_stays_near(monkeypatch: pytest.MonkeyPatch) -> None:
    # As step 3 of the page says.
    monkeypatch.setitem(cast("dict[str, tuple[str, ...]]", RULES), "near", ("near",))
    module = loaded(RULE, monkeypatch)
    number = count()
    rule = module.Near(module.NearSettings(), lambda: next(number))
    heights = (0.5, 0.9, 0.5, *[0.9] * 30, *[0.5] * 20, *[0.9] * 20)
    events = [
        event
        for frame, share in enumerate(heights)
        for event in rule(Scene(frame / 10, 0.0, 100, 100, (near(share),), frozenset({1})))
    ]
    assert [(each.event_type, each.started_s) for each in events] == [("near", 0.3), ("near", 5.3)]
    own = module.NearSettings(near=False)
    assert module.Near.asked_by(Asked(own), lambda: 0) is None


def test_the_templates_pass_style_and_types(tmp_path: Path) -> None:
    ruff = str(Path(sys.executable).parent / "ruff")
    files = {place: tmp_path / f"{Path(place).stem}_template.py" for place in TEMPLATES}
    for place, path in files.items():
        path.write_text(TEMPLATES[place], "utf-8")
    styles = [
        (place, [ruff, *words, "--stdin-filename", place, "-"])
        for place in TEMPLATES
        for words in (["check"], ["format", "--check"])
    ]
    mypy = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    types = (DECODER, [*mypy, *map(str, files.values())])
    for place, command in (*styles, types):
        done = subprocess.run(
            command, cwd=ROOT, input=TEMPLATES[place], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:edgecam|tests|scripts)/[\w/.-]+)`", PAGE)))
)
def test_a_path_that_contributing_names_exists(path: str) -> None:
    if not {"rows", "near", "NAME"} & set(re.split(r"[/_.]", path)):
        assert (ROOT / path).exists()
