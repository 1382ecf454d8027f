"""``edgecam help``: the pages that every message names are there to read."""

from __future__ import annotations

from programs import ROOT, edgecam, error_line


def test_help_prints_a_page_whole() -> None:
    done = edgecam("help", "models")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "docs" / "models.md").read_text("utf-8")


def test_help_lists_every_page_with_its_title() -> None:
    shown = edgecam("help").stdout
    for path in (ROOT / "docs").glob("*.md"):
        title = path.read_text("utf-8").splitlines()[0].lstrip("# ")
        assert any(line.split(None, 1) == [path.stem, title] for line in shown.splitlines()), path


def test_help_offers_the_nearest_page() -> None:
    assert "did you mean 'troubleshooting'?" in error_line(edgecam("help", "troubleshoting"))
