"""Bytes that are nearly right: seeds with pieces changed, repeated, dropped and mixed."""

from __future__ import annotations

import random
from collections.abc import Sequence

MAX_BYTES = 65_536
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WIDTHS = (1, 2, 4, 8)


def mutated(
    noise: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes], ends_bytes: int = 0
) -> bytes:
    """Return other bytes; ``ends_bytes``: change the first and last so many only, 0 for all."""
    if noise.random() < 0.15:
        return repeated(noise, tokens)
    data = bytearray(noise.choice(seeds))
    for _ in range(1 + int(noise.expovariate(0.5))):
        _change(noise, data, seeds, tokens, ends_bytes)
    return bytes(data)


def repeated(noise: random.Random, tokens: Sequence[bytes]) -> bytes:
    """Return one or two tokens over and over: what takes time with the square of it shows."""
    pieces = [noise.choice(tokens) for _ in range(noise.randint(1, 2))]
    before, unit, after = noise.choice(tokens), b"".join(pieces), noise.choice(tokens)
    count = int(MAX_BYTES ** noise.random()) // max(len(unit), 1)
    return before * noise.randint(0, 1) + unit * count + after * noise.randint(0, 1)


def _place(noise: random.Random, size: int, ends_bytes: int) -> int:
    if ends_bytes and size > 2 * ends_bytes:
        at = noise.randrange(2 * ends_bytes)
        return at if at < ends_bytes else size - 2 * ends_bytes + at
    return noise.randint(0, size)


def _change(
    noise: random.Random,
    data: bytearray,
    seeds: Sequence[bytes],
    tokens: Sequence[bytes],
    ends_bytes: int,
) -> None:
    at = _place(noise, len(data), ends_bytes)
    size = min(int(noise.expovariate(0.1)) + 1, len(data) - at)
    kind = noise.randrange(8)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << noise.randrange(8)
    elif kind == 1:
        width = noise.choice(_WIDTHS)
        number = (noise.choice(_NUMBERS) + noise.randint(-1, 1)) % (1 << 8 * width)
        data[at : at + width] = number.to_bytes(width, noise.choice(("little", "big")))
    elif kind == 2:
        data[at : at + noise.choice((0, 0, size))] = noise.choice(tokens)
    elif kind == 3:
        del data[at : at + size]
    elif kind == 4:
        data[at:at] = data[at : at + size] * noise.choice((1, 2, 50))
    elif kind == 5:
        data[at : at + size] = bytes(noise.randrange(256) for _ in range(size))
    elif kind == 6:
        other = noise.choice(seeds)
        start = noise.randint(0, len(other))
        data[at:at] = other[start : start + int(noise.expovariate(0.02))]
    else:
        del data[at:]
