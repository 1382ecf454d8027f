"""Writes GraphDef protocol buffers, independently of the reader that is under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


class Shape(tuple):
    """An attribute of kind shape; a plain list is a list of numbers."""


class Type(str):
    """An attribute of kind type: numpy's name of it."""


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def shape(sides: Sequence[int]) -> bytes:
    return b"".join(block(2, number(1, side)) for side in sides)


def tensor(values: Any, *, extra: bytes | None = None) -> bytes:
    """A TensorProto; ``extra`` replaces tensor_content by fields of the caller."""
    array = np.asarray(values)
    head = number(1, TYPES[array.dtype.name]) + block(2, shape(array.shape))
    return head + (block(4, array.tobytes()) if extra is None else extra)


def attribute(value: Any) -> bytes:
    match value:
        case bool():
            return number(5, value)
        case Type():
            return number(6, TYPES[value])
        case Shape():
            return block(7, shape(value))
        case str():
            return block(2, value.encode())
        case int():
            return number(3, value)
        case float():
            return varint(4 << 3 | 5) + struct.pack("<f", value)
        case list():
            return block(1, block(3, b"".join(varint(v) for v in value)))
        case np.ndarray():
            return block(8, tensor(value))
        case bytes():
            return value
    raise TypeError(type(value))


def node(op: str, name: str, inputs: Sequence[str] = (), **attributes: Any) -> bytes:
    entries = b"".join(
        block(5, block(1, key.encode()) + block(2, attribute(value)))
        for key, value in attributes.items()
    )
    return block(
        1,
        block(1, name.encode())
        + block(2, op.encode())
        + b"".join(block(3, taken.encode()) for taken in inputs)
        + entries,
    )


def const(name: str, values: Any) -> bytes:
    array = np.asarray(values)
    return node("Const", name, dtype=Type(array.dtype.name), value=array)


def placeholder(name: str, sides: Sequence[int], dtype: str = "float32") -> bytes:
    return node("Placeholder", name, dtype=Type(dtype), shape=Shape(sides))
