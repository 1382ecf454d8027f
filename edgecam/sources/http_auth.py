"""The ``Authorization`` header for a camera's challenge: Basic (RFC 7617) and Digest (RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_NEXT = re.compile(r",\s*(?=(?:basic|digest)\b)", re.IGNORECASE)
_DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}


def authorization(
    challenges: list[str], method: str, target: str, username: str, password: str
) -> str | None:
    """Answer the strongest challenge that is understood, or None where none is."""
    # A field may be broken into several lines, which an answer must not be, and hold several.
    each = [one for field in challenges for one in _NEXT.split(" ".join(field.split()))]
    for challenge in sorted(each, key=_strength, reverse=True):
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "digest":
            fields = {m[1].lower(): m[2] or m[3] or "" for m in _FIELD.finditer(rest)}
            if fields.get("algorithm", "MD5").upper() in _DIGESTS:
                return _digest(fields, method, target, username, password)
        if scheme.lower() == "basic":
            credentials = f"{username}:{password}".encode()
            return "Basic " + base64.b64encode(credentials).decode()
    return None


def _strength(challenge: str) -> int:
    text = challenge.lower()
    return 0 if text.startswith("basic") else 2 if "sha-256" in text else 1


def _digest(fields: dict[str, str], method: str, target: str, username: str, password: str) -> str:
    algorithm = fields.get("algorithm", "MD5")

    def digest(text: str) -> str:
        return hashlib.new(_DIGESTS[algorithm.upper()], text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    user, asked = digest(f"{username}:{realm}:{password}"), digest(f"{method}:{target}")
    quoted_name = username.replace("\\", "\\\\").replace('"', '\\"')
    parts = {"username": quoted_name, "realm": realm, "nonce": nonce, "uri": target}
    plain = {"algorithm": algorithm}
    if "auth" in re.split(r"[,\s]+", fields.get("qop", "")):
        count, client = "00000001", secrets.token_hex(8)
        parts["cnonce"] = client
        plain |= {"qop": "auth", "nc": count}
        parts["response"] = digest(f"{user}:{nonce}:{count}:{client}:auth:{asked}")
    else:
        parts["response"] = digest(f"{user}:{nonce}:{asked}")
    if "opaque" in fields:
        parts["opaque"] = fields["opaque"]
    quoted = [f'{name}="{value}"' for name, value in parts.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])
