from pathlib import Path

import pytest

from edgecam.configuration import describe
from edgecam.manual import MANUALS
from edgecam.reference import PAGES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run scripts/make-reference"


@pytest.mark.parametrize("name", sorted(MANUALS))
def test_a_manual_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "man" / name).read_text("utf-8") == MANUALS[name](), "run scripts/make-reference"


def test_the_settings_page_names_every_key() -> None:
    page = PAGES["settings.md"]()
    assert [info.key for info in describe() if f"| `{info.key}` |" not in page] == []
