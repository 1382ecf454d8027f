import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages.manpages import MANUALS
from docs_pages.messages_page import topics
from docs_pages.reference import PAGES
from programs import environment

from edgecam.settings.load import describe

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run scripts/make-reference"


def test_the_manual_pages_are_what_the_code_says() -> None:
    """In a process of its own: click keeps a command's help option as it was first asked for."""
    done = subprocess.run(
        [sys.executable, "scripts/make-reference", "--check"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), "run scripts/make-reference"
    assert {path.name for path in (ROOT / "man").iterdir()} == set(MANUALS)


def test_the_messages_page_says_of_every_topic_what_it_holds_and_how_it_is_sent() -> None:
    rows = list(topics())
    assert all(what and how for _, what, how in rows)
    assert {topic.removeprefix("edgecam/<name>/") for topic, _, _ in rows} >= {
        "claim",
        "frame",
        "result",
        "zone/<zone>/count/<label>",
    }


def test_the_settings_page_names_every_key() -> None:
    page = PAGES["settings.md"]()
    assert [info.key for info in describe() if f"| `{info.key}` |" not in page] == []
