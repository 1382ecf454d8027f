"""TOML from outside, parsed in a time that its length bounds."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MAX_KEY_PARTS = 16
# tomllib takes time with the square of the parts of a dotted key. Dots in texts and comments are
# no such parts, so texts become one and comments go. One that is never closed ends here as well:
# tomllib refuses it at the same place.
_TEXT = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{0,5}'
    r"|'''(?:[^']|'(?!''))*+'{0,5}"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
_PART = r"\.[ \t]*+[A-Za-z0-9_-]++[ \t]*+"
_LONG_KEY = re.compile(f"(?:{_PART}){{{MAX_KEY_PARTS}}}")


def loads(text: str) -> dict[str, Any]:
    """Return the tables of a TOML document.

    Raises:
        ValueError: it is no TOML, nests too deep, or a key has more than ``MAX_KEY_PARTS`` parts.
    """
    plain = _TEXT.sub(lambda found: "" if found[0].startswith("#") else "text", text)
    if _LONG_KEY.search(plain):
        raise ValueError(f"a key of more than {MAX_KEY_PARTS} parts (a.b.c has three)")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("tables or lists that nest too deep") from None
