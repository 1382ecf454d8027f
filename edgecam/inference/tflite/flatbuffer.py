"""A bounds-checked reader of flatbuffer tables.

A tenth of what the ``flatbuffers`` package does, without its import (0.2 s on a small board) and
without its trust in offsets: every read is checked against the end of the data, because the files
come from people and cards that lose power. Layout: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

# Numbers, and tables, of which each takes as long as some of them. The largest vision models have
# a tenth of it.
MAX_PARTS = 4_000_000
_TABLE_PARTS = 40
# An offset and the table's own.
_TABLE_BYTES = 8
_MAX_OVERLAP = 2
_MIN_ROOM_BYTES = 4096

_FLOAT = struct.Struct("<f")
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


@dataclass(slots=True)
class Room:
    """How much more is read of one buffer: nothing stops two offsets from pointing to one place.

    What is read through offsets is at most twice as long as the buffer, since only equal texts
    and numbers share a place, and no more than ``MAX_PARTS`` parts.
    """

    bytes: int
    parts: int = MAX_PARTS

    def take(self, size: int, parts: int) -> None:
        """
        Raises:
            DamagedError: so much was read already that the parts must overlap.
        """
        self.bytes -= size
        self.parts -= parts
        if self.bytes < 0 or self.parts < 0:
            raise DamagedError("its parts overlap, or are too many")


@dataclass(frozen=True, slots=True)
class Vector:
    """``length`` elements that start at byte ``start``."""

    data: memoryview
    start: int
    length: int

    def check(self, element_size: int) -> Vector:
        """Return the vector; raise DamagedError where its elements reach beyond the data."""
        if self.length * element_size > len(self.data) - self.start:
            raise DamagedError(f"{self.length} elements at byte {self.start} of {len(self.data)}")
        return self


@dataclass(frozen=True, slots=True)
class Table:
    """One table; fields are addressed by their slot, the number of the field in the schema."""

    data: memoryview
    position: int
    room: Room = field(repr=False)

    @staticmethod
    def root(data: memoryview) -> Table:
        """Return the root table of a flatbuffer."""
        room = Room(_MAX_OVERLAP * len(data) + _MIN_ROOM_BYTES)
        return Table(data, unpack(data, "I", 0), room)

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
        """Return a scalar field, ``default`` where it is absent."""
        position = self.field(slot)
        return unpack(self.data, kind, position) if position else default

    def real(self, slot: int) -> float:
        """Return a float32 field, 0 where it is left out."""
        position = self.field(slot)
        if position + 4 > len(self.data):
            raise DamagedError(f"byte {position} of {len(self.data)} is read")
        return float(_FLOAT.unpack_from(self.data, position)[0]) if position else 0.0

    def target(self, slot: int) -> int:
        """Return the byte position that an offset field points to, 0 where there is none."""
        position = self.field(slot)
        return position + unpack(self.data, "I", position) if position else 0

    def table(self, slot: int) -> Table | None:
        """Return a table field, None where it is absent."""
        position = self.target(slot)
        return Table(self.data, position, self.room) if position else None

    def vector(self, slot: int) -> Vector:
        """Return a vector field, an empty one where it is absent."""
        position = self.target(slot)
        if not position:
            return Vector(self.data, 0, 0)
        return Vector(self.data, position + 4, unpack(self.data, "I", position))

    def numbers(self, slot: int, kind: str) -> tuple[int | float, ...]:
        """Return a vector of numbers of a struct format ``kind``."""
        size = _STRUCTS[kind].size
        vector = self.vector(slot).check(size)
        self.room.take(size * vector.length, vector.length)
        return struct.unpack_from(f"<{vector.length}{kind}", self.data, vector.start)

    def integers(self, slot: int, kind: str) -> tuple[int, ...]:
        """Return a vector of whole numbers of a struct format ``kind``."""
        return tuple(int(value) for value in self.numbers(slot, kind))

    def bytes(self, slot: int) -> memoryview:
        """Return a vector's bytes where they are, not a copy."""
        vector = self.vector(slot).check(1)
        return self.data[vector.start : vector.start + vector.length]

    def copy(self, slot: int) -> builtins.bytes:
        """Return a vector's bytes."""
        content = self.bytes(slot)
        self.room.take(len(content), 1)
        return content.tobytes()

    def string(self, slot: int) -> str:
        """Return a string field, "" where it is absent."""
        try:
            return str(self.copy(slot), "utf-8")
        except UnicodeDecodeError as error:
            raise DamagedError(f"text at byte {self.target(slot)} is not UTF-8") from error

    def tables(self, slot: int, make: Callable[[Table], T]) -> tuple[T, ...]:
        """Return what ``make`` makes of each table of a vector."""
        vector = self.vector(slot).check(4)
        self.room.take(_TABLE_BYTES * vector.length, _TABLE_PARTS * vector.length)
        positions = range(vector.start, vector.start + 4 * vector.length, 4)
        return tuple(
            make(Table(self.data, at + unpack(self.data, "I", at), self.room)) for at in positions
        )
