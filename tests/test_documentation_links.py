"""Links between the pages and to files of the repository lead somewhere; no network is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.md")])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELF = "docs/index.md"


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """What ``#`` may be followed by in a link to the page, as GitHub and MkDocs make it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def links(page: Path) -> list[str]:
    return _LINK.findall(_SPAN.sub("", prose(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in links(ROOT / SHELF)}
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages - linked == set()


def test_the_site_has_every_page_in_its_menu() -> None:
    menu = re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {name for name in menu if "/" not in name} == pages
    assert len(menu) == len(set(menu))


def test_the_readme_is_one_screen_and_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 200
    first = "\n".join(lines[:20])
    assert "scripts/demo" in first
    assert "scripts/test" in first


def test_every_picture_is_shown_by_a_page() -> None:
    shown = {Path(link).name for page in PAGES for link in links(page)}
    kept = {
        path.name for kind in ("jpg", "svg", "png") for path in (ROOT / "docs").glob(f"*.{kind}")
    }
    assert kept - shown == set()
