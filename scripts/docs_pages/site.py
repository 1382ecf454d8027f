"""Hook of MkDocs: pages and files outside docs/ that a page links become part of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "README.md")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def _place(path: Path) -> str:
    """Where a file of the repository lies in the site, below its root."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index.md"
    if name in PROJECT:
        return f"project/{name.lower()}"
    return name.removeprefix("docs/") if name.startswith("docs/") else f"files/{name}"


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the project's pages, and every file that a page links to."""
    sources = [*(ROOT / name for name in PROJECT), *sorted((ROOT / "docs").glob("*.md"))]
    for page in sources:
        if page.name in PROJECT and page.name != "README.md":
            files.append(File.generated(config, _place(page), abs_src_path=str(page)))
        for link, _anchor in _LINK.findall(page.read_text("utf-8")):
            target = (page.parent / link).resolve()
            place = _place(target) if target.is_file() else ""
            if place.startswith("files/") and files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links that lead to the repository lead into the site."""
    source = Path(page.file.abs_src_path).resolve()
    depth = page.file.src_uri.count("/")

    def led(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        if not target.is_file() or (target.parent == source.parent == ROOT / "docs"):
            return match[0]
        return f"]({'../' * depth}{_place(target)}{match[2] or ''})"

    return _LINK.sub(led, markdown)
