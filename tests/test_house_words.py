"""The words that edgecam does not use: in its texts, its names, its pages and its tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Words that read as translated or hide who acts, and what to write in their place.
BANNED = {
    "told": "reported, known, shown",
    "for ever": "without end",
    "for_ever": "without end",
    "forever": "without end",
    "mend": "fix",
    "mends": "fixes",
    "mended": "fixed",
    "mending": "fixing",
    "anew": "again",
    "somebody": "a person",
    "nobody": "no person, none",
    "whoever": "people who",
    "shall": "will, has to",
}
# A name's parts are words too: an underscore ends one, as a space does.
BANNED_WORD = re.compile(rf"(?<![a-z])({'|'.join(BANNED)})(?![a-z])", re.IGNORECASE)
# Names of other people's code.
OTHERS = re.compile(r"\b(loop|serve)_forever\b")
# Licences are law, clips' notes are data, and this file would find itself.
NOT_OURS = ("LICENSE", "LICENSES/", "models/clips/", "tests/data/", "tests/test_house_words.py")
PICTURES = {".jpg", ".png", ".svg", ".gif", ".webp", ".avif", ".heic", ".tflite", ".mp4"}


def texts() -> list[Path]:
    """Every file of the repository that people read."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        names = found.stdout.split("\0")
    else:  # an sdist
        folders = ("edgecam", "tests", "docs", "scripts", "systemd", "contrib", "man")
        under = [path for name in folders for path in (ROOT / name).rglob("*")]
        names = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.*"), *under)]
    return [
        ROOT / name
        for name in names
        if name
        and not name.startswith(NOT_OURS)
        and Path(name).suffix not in PICTURES
        and (ROOT / name).is_file()
    ]


def banned(path: Path) -> list[str]:
    """Each line of ``path`` with a banned word, and what to write in its place."""
    try:
        text = OTHERS.sub("", path.read_text("utf-8"))
    except UnicodeDecodeError:
        return []
    lowered = text.lower()
    if not any(word in lowered for word in BANNED):  # as in most files; what follows is slower
        return []
    return [
        f"{path.relative_to(ROOT)}:{number}: {word[0]}: write {BANNED[word[0].lower()]}"
        for number, line in enumerate(text.splitlines(), 1)
        if (word := BANNED_WORD.search(line))
    ]


def test_no_text_and_no_name_has_a_banned_word() -> None:
    assert [line for path in sorted(texts()) for line in banned(path)] == []


def test_a_banned_word_is_found_within_a_name() -> None:
    path = ROOT / "tests" / "test_house_words.py"
    assert len(banned(path)) >= len(BANNED)
    assert BANNED_WORD.search("def test_the_frame_is_told_once")
    assert not BANNED_WORD.search("amendment, retold, marshall")
