"""The ``Authorization`` header for a camera's challenge: Basic (RFC 7617) and Digest (RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_NEXT = re.compile(r",\s*(?=(?:basic|digest)\b)", re.IGNORECASE)
_DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}


@dataclass(slots=True)
class NonceUse:
    """How often the server's newest nonce was used: a strict one takes no count twice."""

    nonce: str = ""
    count: int = 0

    def next(self, nonce: str) -> int:
        """The number of this use, from 1."""
        if nonce != self.nonce:
            self.nonce, self.count = nonce, 0
        self.count += 1
        return self.count


def authorization(
    challenges: list[str],
    method: str,
    target: str,
    username: str,
    password: str,
    used: NonceUse | None = None,
) -> str | None:
    """Answer the strongest challenge that is understood, or None where none is.

    ``used`` goes on counting where a challenge is answered more than once.
    """
    # A field may be broken into several lines, which an answer must not be, and hold several.
    each = [one for field in challenges for one in _NEXT.split(" ".join(field.split()))]
    for challenge in sorted(each, key=_strength, reverse=True):
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "digest":
            fields = {m[1].lower(): m[2] or m[3] or "" for m in _FIELD.finditer(rest)}
            if fields.get("algorithm", "MD5").upper() in _DIGESTS:
                number = (used or NonceUse()).next(fields.get("nonce", ""))
                return _digest(fields, method, target, username, password, number)
        if scheme.lower() == "basic":
            credentials = f"{username}:{password}".encode()
            return "Basic " + base64.b64encode(credentials).decode()
    return None


def _strength(challenge: str) -> int:
    text = challenge.lower()
    return 0 if text.startswith("basic") else 2 if "sha-256" in text else 1


def _digest(
    fields: dict[str, str], method: str, target: str, username: str, password: str, number: int
) -> str:
    algorithm = fields.get("algorithm", "MD5")

    def digest(text: str) -> str:
        return hashlib.new(_DIGESTS[algorithm.upper()], text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    user, asked = digest(f"{username}:{realm}:{password}"), digest(f"{method}:{target}")
    quoted_name = username.replace("\\", "\\\\").replace('"', '\\"')
    parts = {"username": quoted_name, "realm": realm, "nonce": nonce, "uri": target}
    plain = {"algorithm": algorithm}
    if "auth" in re.split(r"[,\s]+", fields.get("qop", "")):
        count, client = f"{number:08x}", secrets.token_hex(8)
        parts["cnonce"] = client
        plain |= {"qop": "auth", "nc": count}
        parts["response"] = digest(f"{user}:{nonce}:{count}:{client}:auth:{asked}")
    else:
        parts["response"] = digest(f"{user}:{nonce}:{asked}")
    if "opaque" in fields:
        parts["opaque"] = fields["opaque"]
    quoted = [f'{name}="{value}"' for name, value in parts.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])
