"""``edgecam help``: the pages of the documentation, as they are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgecam.core.errors import EdgecamError
from edgecam.core.printable import printable, say
from edgecam.settings.messages import nearest

_PACKAGE = Path(__file__).parents[2]
# Installed from a wheel the pages lie inside the package; in a checkout beside it.
_DIRECTORIES = (_PACKAGE / "data" / "docs", _PACKAGE.parent / "docs")


def _pages() -> dict[str, Path]:
    """Name -> file of every page that is installed."""
    folder = next((path for path in _DIRECTORIES if path.is_dir()), _DIRECTORIES[0])
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def _offered(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    del ctx, parameter
    return [name for name in _pages() if name.startswith(typed)]


@click.command("help")
@click.argument("page", required=False, shell_complete=_offered)
def command(page: str | None) -> None:
    """Print PAGE of the documentation, or say which pages there are.

    \b
    edgecam help models
    edgecam help troubleshooting
    """
    pages = _pages()
    if page is None:
        width = max(map(len, pages), default=0)
        say("edgecam help PAGE shows a page, edgecam COMMAND --help a command's options:")
        say("")
        for name, path in pages.items():
            say(f"  {name:{width}}  {_title(path)}")
        return
    name = page.removesuffix(".md").lower()
    if name not in pages:
        raise EdgecamError(
            f"no page is called {page!r:.80}{nearest(name, pages)}; edgecam help lists them"
        )
    lines = pages[name].read_text("utf-8").splitlines()
    if sys.stdout.isatty():
        click.echo_via_pager("\n".join(printable(line, len(line)) for line in lines) + "\n")
        return
    for line in lines:
        say(line)


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        return next(lines, "").lstrip("# ").strip()
