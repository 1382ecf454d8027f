from pathlib import Path

import pytest

from edgecam.configuration import describe
from edgecam.reference import PAGES

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run scripts/make-reference"


def test_the_settings_page_names_every_key() -> None:
    page = PAGES["settings.md"]()
    assert [info.key for info in describe() if f"| `{info.key}` |" not in page] == []
