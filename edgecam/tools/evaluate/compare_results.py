"""Compares the JSON lines of two runs over the same recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

# Scores are rounded to 0.01 on the wire; where positions may differ, so may they by one step.
SCORE_TOLERANCE = 0.0101


@dataclass(slots=True)
class Comparison:
    """How a run's lines differ from the golden ones; ``first`` names the first difference."""

    lines: int = 0
    differing: int = 0
    beyond_tolerance: int = 0
    largest_px: float = 0.0
    first: str | None = None

    @property
    def equal(self) -> bool:
        """Whether no frame is beyond the tolerance."""
        return self.beyond_tolerance == 0


def _differences(path: str, expected: Any, found: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in {**expected, **found}:
            below = f"{path}.{key}" if path else key
            yield from _differences(below, expected.get(key), found.get(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, pair in enumerate(zip(expected, found, strict=True)):
            yield from _differences(f"{path}[{place}]", *pair)
    elif expected != found:
        if isinstance(expected, list) and isinstance(found, list):
            yield f"number of {path}", len(expected), len(found)
        else:
            yield path, expected, found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(expected: list[bytes], found: list[bytes], tolerance_px: float) -> Comparison:
    """Compare line by line: byte for byte, or numbers within ``tolerance_px`` where that is set.

    Scores may then differ by one step of 0.01; text, counts and frame numbers may not.
    """
    result = Comparison(lines=len(found))
    for number, (line, other) in enumerate(zip(expected, found, strict=False), start=1):
        if line == other:
            continue
        result.differing += 1
        beyond = None
        for path, one, two in _differences("", *map(msgspec.json.decode, (line, other))):
            is_position = path.endswith((".x", ".y")) or ".box[" in path
            if _is_number(one) and _is_number(two) and is_position:
                result.largest_px = max(result.largest_px, abs(one - two))
                fits = abs(one - two) <= tolerance_px
            elif _is_number(one) and _is_number(two) and path.endswith("score"):
                fits = tolerance_px > 0 and abs(one - two) <= SCORE_TOLERANCE
            else:
                fits = False
            if not fits and beyond is None:
                beyond = f"line {number}: {path}: expected {one}, found {two}"
        if beyond is not None or tolerance_px == 0:
            result.beyond_tolerance += 1
            result.first = result.first or beyond or f"line {number}: its bytes differ"
    if len(expected) != len(found):
        result.beyond_tolerance += abs(len(expected) - len(found))
        result.first = result.first or f"expected {len(expected)} lines, found {len(found)}"
    return result
