"""Protocol buffer's wire format, as far as a reader of messages needs it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

Value = int | memoryview
_SHOWN = 80


class WireError(Exception):
    """The bytes are no protocol buffer message; says where and why."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield (field number, value): an int of 64 bits for a varint, else the value's bytes.

    Raises:
        WireError: the message ends inside a field, or holds what no message holds.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError(f"field number 0 before byte {at}")
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == LENGTH:
            size, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"wire type {kind} before byte {at}")
        if size > end - at:
            raise WireError(f"field {number} wants {size} bytes and {end - at} are left")
        yield number, message[at : at + size]
        at += size


def signed(value: Value) -> int:
    """Return a varint as int32 and int64 fields mean it."""
    number = integer(value)
    return number - (1 << 64) if number >> 63 else number


def integer(value: Value) -> int:
    """Return a varint as it stands.

    Raises:
        WireError: the field is of another wire type.
    """
    if isinstance(value, int):
        return value
    raise WireError(f"{len(value)} bytes in place of a number")


def block(value: Value) -> memoryview:
    """Return the bytes of a field: an embedded message, a string, a fixed-width number.

    Raises:
        WireError: the field is a varint.
    """
    if isinstance(value, memoryview):
        return value
    raise WireError(f"the number {value} in place of bytes")


def text(value: Value) -> str:
    """Return a string field that is a name.

    Raises:
        WireError: it is not UTF-8, or no name that could be shown in a line.
    """
    try:
        found = str(block(value), "utf-8")
    except UnicodeDecodeError:
        raise WireError("a text that is not UTF-8") from None
    if not found.isprintable():
        raise WireError(f"the name {found[:_SHOWN]!r}")
    return found


def float32(value: Value) -> float:
    """Return a float field.

    Raises:
        WireError: it is not 4 bytes long.
    """
    raw = block(value)
    if len(raw) != 4:
        raise WireError(f"{len(raw)} bytes in place of a float's 4")
    return float(struct.unpack("<f", raw)[0])


def varints(value: Value) -> list[int]:
    """Return a repeated number's elements, packed or a single one, signed."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        element, at = _varint(value, at)
        found.append(signed(element))
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise WireError(f"an unfinished number at byte {at}")
