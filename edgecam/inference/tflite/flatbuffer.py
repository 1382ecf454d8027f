"""A bounds-checked reader of flatbuffer tables.

A tenth of what the ``flatbuffers`` package does, without its import (0.2 s on a small board) and
without its trust in offsets: every read is checked against the end of the data, because the files
come from people and cards that lose power. Layout: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_STRUCTS = {kind: struct.Struct("<" + kind) for kind in "bBHiIfqQ"}


class DamagedError(Exception):
    """An offset or length points outside the data, or text is not UTF-8."""


def unpack(data: memoryview, kind: str, position: int) -> int:
    """Return the little-endian integer of ``struct`` type ``kind`` at byte ``position``."""
    try:
        value: int = _STRUCTS[kind].unpack_from(data, position)[0]
    except struct.error as error:
        raise DamagedError(f"byte {position} of {len(data)} is read") from error
    return value


@dataclass(frozen=True, slots=True)
class Vector:
    """``length`` elements that start at byte ``start``."""

    data: memoryview
    start: int
    length: int

    def check(self, element_size: int) -> Vector:
        if self.length * element_size > len(self.data) - self.start:
            raise DamagedError(f"{self.length} elements at byte {self.start} of {len(self.data)}")
        return self


@dataclass(frozen=True, slots=True)
class Table:
    """One table; fields are addressed by their slot, the number of the field in the schema."""

    data: memoryview
    position: int

    @staticmethod
    def root(data: memoryview) -> Table:
        return Table(data, unpack(data, "I", 0))

    def field(self, slot: int) -> int:
        """Return the byte position of a field, 0 where the table leaves it at its default."""
        vtable = self.position - unpack(self.data, "i", self.position)
        if vtable < 0:
            raise DamagedError(f"byte {vtable} of {len(self.data)} is read")
        entry = 4 + 2 * slot
        if entry + 2 > unpack(self.data, "H", vtable):
            return 0
        offset = unpack(self.data, "H", vtable + entry)
        return self.position + offset if offset else 0

    def integer(self, slot: int, kind: str, default: int = 0) -> int:
        position = self.field(slot)
        return unpack(self.data, kind, position) if position else default

    def target(self, slot: int) -> int:
        """Return the byte position that an offset field points to, 0 where there is none."""
        position = self.field(slot)
        return position + unpack(self.data, "I", position) if position else 0

    def table(self, slot: int) -> Table | None:
        position = self.target(slot)
        return Table(self.data, position) if position else None

    def vector(self, slot: int) -> Vector:
        position = self.target(slot)
        if not position:
            return Vector(self.data, 0, 0)
        return Vector(self.data, position + 4, unpack(self.data, "I", position))

    def numbers(self, slot: int, kind: str) -> tuple[int | float, ...]:
        vector = self.vector(slot).check(_STRUCTS[kind].size)
        return struct.unpack_from(f"<{vector.length}{kind}", self.data, vector.start)

    def integers(self, slot: int, kind: str) -> tuple[int, ...]:
        return tuple(int(value) for value in self.numbers(slot, kind))

    def bytes(self, slot: int) -> memoryview:
        vector = self.vector(slot).check(1)
        return self.data[vector.start : vector.start + vector.length]

    def string(self, slot: int) -> str:
        try:
            return str(self.bytes(slot), "utf-8")
        except UnicodeDecodeError as error:
            raise DamagedError(f"text at byte {self.target(slot)} is not UTF-8") from error

    def tables(self, slot: int, make: Callable[[Table], T]) -> tuple[T, ...]:
        vector = self.vector(slot).check(4)
        positions = range(vector.start, vector.start + 4 * vector.length, 4)
        return tuple(make(Table(self.data, at + unpack(self.data, "I", at))) for at in positions)
