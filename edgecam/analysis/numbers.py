"""Ids that count up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Numbers(Iterator[int]):
    """Counts up; ``following`` is the next number that it gives."""

    following: int

    def __next__(self) -> int:
        self.following += 1
        return self.following - 1
