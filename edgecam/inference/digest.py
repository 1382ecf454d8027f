"""SHA-256 of a model file, without OpenSSL where that pays."""

from __future__ import annotations

import importlib
from functools import lru_cache

# hashlib brings OpenSSL along: 3.4 MB of memory, and more time than Python's own SHA-256 takes for
# a file of this size.
MAX_OWN_BYTES = 4_000_000
# Python's own, up to 3.11 and since 3.12; no build must have them.
_OWN = ("_sha2", "_sha256", "hashlib")


@lru_cache(maxsize=2)
def sha256(data: bytes) -> str:
    """The SHA-256 of ``data`` in hexadecimal; the last one is remembered, for several ask."""
    for module in _OWN if len(data) <= MAX_OWN_BYTES else ("hashlib",):
        try:
            digest: str = importlib.import_module(module).sha256(data).hexdigest()
        except ImportError:
            continue
        return digest
    raise ImportError("hashlib")
