"""Every shell command of README, CONTRIBUTING and docs/: fenced as ``sh``, or in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

from programs import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
# What a command in a sentence begins with; ``edgecam/...`` is a topic, ``edgecam`` alone a name.
WORDS = (
    "edgecam",
    *("apt", "apt-get", "pip", "pkg", "npm", "git", "python", "python3", "man"),
    *("sudo", "sv", "systemctl", "docker", "curl", "openssl"),
    *("mosquitto_sub", "mosquitto_pub", "ffmpeg"),
)
SHELLS = ("sh", "bash", "console", "shell")
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")


def _lines(block: str) -> list[str]:
    """Whole commands of a block, without what stands behind ``#``; a loop is one with its block."""
    joined = re.sub(r"\s*\\\n\s*", " ", block)
    lines = [re.sub(r"(^|\s+)# .*$", "", raw).strip() for raw in joined.splitlines()]
    if "done" in lines:
        return ["\n".join(lines)]
    return [line for line in lines if line]


def _is_command(span: str) -> bool:
    words = span.split()
    return words[0].startswith("scripts/") or (words[0] in WORDS and len(words) > 1)


def commands(page: Path) -> list[str]:
    """The commands of a page in its order, each once."""
    text = page.read_text("utf-8")
    found: list[str] = []
    place = 0
    for fence in [*_FENCE.finditer(text), None]:
        prose = text[place : fence.start() if fence else len(text)]
        spans = (" ".join(span.split()) for span in _SPAN.findall(prose))
        found += filter(_is_command, spans)
        if fence is not None:
            found += _lines(fence[2]) if fence[1] in SHELLS else []
            place = fence.end()
    return list(dict.fromkeys(found))


def languages(page: Path) -> set[str]:
    """What the page's fences say that they hold."""
    return {fence[1] for fence in _FENCE.finditer(page.read_text("utf-8"))}


def blocks(language: str) -> list[str]:
    """What every fence of a language holds, page after page."""
    texts = (page.read_text("utf-8") for page in PAGES)
    return [fence[2] for text in texts for fence in _FENCE.finditer(text) if fence[1] == language]
