"""Every fault says where in the README more is written, and that is a page linked there."""

from __future__ import annotations

import importlib
import re

import pytest
from programs import ROOT, edgecam, error_line
from test_house import MODULES

from edgecam.core.errors import EdgecamError

README = (ROOT / "README.md").read_text("utf-8")
PAGES = re.findall(r"\[([^\]]+)\]\(docs/[^)]+\)", README)


def kinds() -> set[type[EdgecamError]]:
    """Every kind of fault, wherever it is defined."""
    for module, path in MODULES.items():
        if re.search(r"^class \w+\(\w*Error\)", path.read_text("utf-8"), re.MULTILINE):
            importlib.import_module(f"edgecam.{module}")
    found, open_ends = set(), [EdgecamError]
    while open_ends:
        kind = open_ends.pop()
        found.add(kind)
        open_ends += kind.__subclasses__()
    return found


def test_every_fault_names_a_page_that_the_readme_links() -> None:
    sections = {kind.__name__: kind.section for kind in kinds()}
    assert len(sections) >= 9
    assert set(sections.values()) <= set(PAGES), sections


@pytest.mark.parametrize(
    ("arguments", "section"),
    [
        (("--model", "posenet", "--source", "missing.mp4"), "Sources"),
        (("--model", "missing.tflite"), "Models"),
        (("--model", "posenet", "--score-threshold", "7"), "Settings"),
        (("--model", "posenet", "--delegate", "x.so", "--delegate-required"), "Coral and other"),
        (("convert", "missing.json", "-o", "x.tflite"), "Convert, quantise, evaluate"),
        (("service", "uninstall", "nobody", "--root", "missing"), "As a service"),
        (("replay", "missing.recording.gz"), "Flight recorder"),
        (("--model", "posenet", "--web", "8080"), "Live page"),
        (("--model", "posenet", "--web", "0.0.0.0:8080"), "Live page"),
        (("top",), "All cameras at a glance"),
        (("top", "--once", "--broker", "mqtt://127.0.0.1:1"), "All cameras at a glance"),
        (("decode", "missing.npz"), "When something is wrong"),
    ],
)
def test_the_line_ends_with_it(arguments: tuple[str, ...], section: str) -> None:
    line = error_line(edgecam(*arguments))
    assert re.search(rf" \(see README: {section}[^()]*\)$", line), line
