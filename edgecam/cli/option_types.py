"""What options take: numbers and sizes within bounds, and files that can be written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from edgecam.core import atomic_file as whole_file

# Four times the longer side of 1080p: past it a float picture alone takes 700 MB.
MAX_SIDE_PX = 7680


class Number(click.FloatRange):
    """A finite number within bounds, which nan escapes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; refuse what is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class Size(NamedTuple):
    """Of a picture, in pixels; written as it is typed."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


class SizeRange(click.types.StringParamType):
    """HEIGHTxWIDTH as a ``Size`` whose sides are within bounds."""

    name = "HEIGHTxWIDTH"

    def __init__(self, min_px: int = 1, max_px: int = MAX_SIDE_PX) -> None:
        self._min_px, self._max_px = min_px, max_px

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return the name that help shows for the value."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return HEIGHTxWIDTH as a size; refuse what is out of range."""
        if isinstance(value, Size):
            return value
        height, cross, width = str(value).partition("x")
        digits = height.isascii() and height.isdecimal() and width.isascii() and width.isdecimal()
        if not (cross and digits):
            self.fail(f"{value!r}: expected HEIGHTxWIDTH, as in 353x481", param, ctx)
        # Any number of digits are no number yet.
        most = len(str(self._max_px))
        sides = [int(side) if len(side.lstrip("0")) <= most else None for side in (height, width)]
        if not all(s is not None and self._min_px <= s <= self._max_px for s in sides):
            bounds = f"{self._min_px} to {self._max_px} pixels"
            self.fail(f"{value!r}: expected sides of {bounds}", param, ctx)
        return Size(int(height), int(width))


def names(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[str] | None:
    """Names with commas between them; a callback."""
    return [name.strip() for name in text.split(",")] if text is not None else None


class OutputFile(click.Path):
    """A file to write, whose name ends in one of ``suffixes``; refused before any work.

    ``beside``: what stands behind its stem in the names of others that are written with it.
    """

    def __init__(self, *suffixes: str, beside: Sequence[str] = ()) -> None:
        super().__init__(path_type=Path)
        self._suffixes, self._beside = suffixes, beside

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; refuse a wrong suffix, a missing folder or one that is not writable."""
        path = Path(value)
        if self._suffixes and path.suffix.lower() not in self._suffixes:
            expected = " or ".join(self._suffixes)
            self.fail(f"expected a name that ends in {expected}, found {path}", param, ctx)
        if ctx is None or not ctx.resilient_parsing:
            for each in (path, *(path.with_name(path.stem + end) for end in self._beside)):
                whole_file.check(each)
        return path
