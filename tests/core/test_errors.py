"""Every fault names a page of the documentation that is installed and that README links."""

from __future__ import annotations

import importlib
import re

import pytest
from programs import ROOT, edgecam, error_line
from test_house import MODULES

from edgecam.core.errors import EdgecamError

README = (ROOT / "README.md").read_text("utf-8")
PAGES = re.findall(r"\]\(docs/([^)]+)\.md\)", README)


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
    pages = {kind.__name__: kind.page for kind in kinds()}
    assert len(pages) >= 9
    assert set(pages.values()) <= set(PAGES), pages


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (("--model", "posenet", "--source", "missing.mp4"), "sources"),
        (("--model", "missing.tflite"), "models"),
        (("--model", "posenet", "--score-threshold", "7"), "settings"),
        (("--model", "posenet", "--delegate", "x.so", "--delegate-required"), "delegates"),
        (("convert", "missing.json", "-o", "x.tflite"), "convert"),
        (("service", "uninstall", "stranger", "--root", "missing"), "service"),
        (("replay", "missing.recording.gz"), "recorder"),
        (("--model", "posenet", "--web", "8080x"), "live-page"),
        (("--model", "posenet", "--web", "0.0.0.0:8080"), "live-page"),
        (("top",), "top"),
        (("top", "--once", "--broker", "mqtt://127.0.0.1:1"), "top"),
        (("decode", "missing.npz"), "troubleshooting"),
    ],
)
def test_the_line_ends_with_it(arguments: tuple[str, ...], page: str) -> None:
    line = error_line(edgecam(*arguments))
    assert re.search(rf" \(see: edgecam help {page}\)$", line), line


def test_a_message_that_quotes_a_long_name_keeps_both_its_ends() -> None:
    text = str(EdgecamError("model.json: no weights for " + "9" * 100_000 + "; download it again"))
    assert len(text) == 1505
    assert text.startswith("model.json: no weights for 999")
    assert text.endswith("999; download it again")
