"""``edgecam help``: the pages that every message names are there to read."""

from __future__ import annotations

import pytest
from programs import ROOT, edgecam, error_line

from edgecam.cli.commands.models import CHOICES, choosing
from edgecam.cli.headings import HEADINGS
from edgecam.cli.main import cli


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


def test_options_stand_under_headings_and_numbers_are_numbers() -> None:
    lines = edgecam("--help").stdout.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [*(f"{heading}:" for heading in HEADINGS), "Other options:", "Commands:"]
    shown = "\n".join(lines)
    assert " TEXT" not in shown
    for option in ("--threads", "--max-poses", "--max-frames"):
        assert f"  {option} INTEGER" in shown
    for option in ("--score-threshold", "--min-pose-score", "--nms-radius"):
        assert f"  {option} NUMBER" in shown


@pytest.mark.parametrize(("name", "own"), [("bench", "  --rounds"), ("replay", "  --write")])
def test_a_command_that_takes_models_shows_its_own_options_first(name: str, own: str) -> None:
    shown = edgecam(name, "--help").stdout
    order = ("\nOptions:\n", f"\n{own}", "\nModels:\n", "\n  -m, --model")
    places = [shown.index(words) for words in order]
    assert places == sorted(places)


def test_every_heading_names_options_that_there_are() -> None:
    known = {parameter.name for parameter in cli.params}
    listed = [name for names in HEADINGS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= known


def test_models_ends_with_what_to_write_for_what_and_all_of_it_runs() -> None:
    shown = edgecam("models").stdout
    assert shown.endswith("\n".join(choosing()) + "\n")
    for flags in CHOICES.values():
        if flags.startswith("--"):
            done = edgecam("--source", "demo", *flags.split(), "--check")
            assert (done.returncode, done.stderr) == (0, "")
