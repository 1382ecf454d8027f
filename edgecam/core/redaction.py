"""How a URL is shown: a camera's password may stand anywhere in it.

Before the host, in the path (``/user=admin_password=...``), in a query by a dozen names. So a
camera is scheme, host and port alone, in every log, error, payload and page.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"
_URL = re.compile(rf"\s*({_SCHEME})://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+(%\w+)?\])(:\d{0,5})?")
_IP_ADDRESS = re.compile(r"(\d+(\.\d+){3}|\[.*\])(:\d*)?")
# What was meant for a URL: one slash, none, or no scheme before a user and a password.
_NEARLY = re.compile(
    rf"\s*(?:({_SCHEME}):/|(rtsps?|https?|mqtts?):|[^/\s]*[:=][^/]*@)", re.IGNORECASE
)
# In other text: up to a blank; where that is no URL yet, up to its last @ before the next one.
_IN_TEXT = re.compile(rf"\b({_SCHEME})://(\S+)((?:(?!{_SCHEME}://)[^\n])*@[\w\[]\S*)?")
_CLOSING = re.compile(r"[]'\",;:.)>}]*$")
# Our own words for what is expected: mqtt://HOST[:1883], http://HOST:PORT/PATH.
_PLACEHOLDER = re.compile(r"HOST(?![\w.-]|:(?!PORT|1883|8883))[^@]*|\W+")


def address(url: str) -> str:
    """``url`` as scheme, host and port; ``***`` for a host that a password may be a part of."""
    match = _URL.match(url)
    if match is None:
        return HIDDEN
    scheme, authority, rest = match.groups()
    host = authority.rpartition("@")[2]
    # A password with a "/" in it moves the @ behind what then looks like the host.
    certain = "@" not in rest or _IP_ADDRESS.fullmatch(host)
    return f"{scheme}://{host if certain and _HOST.fullmatch(host) else HIDDEN}"


def shown(source: str) -> str:
    """A source as it may be shown: a path, a device or a number as it is, a URL as ``address``."""
    if source.lower().startswith("file://"):
        return source
    if _URL.match(source):
        return address(source)
    match = _NEARLY.match(source)
    if match is None:
        return source
    scheme = match[1] or match[2]
    return f"{scheme}:{HIDDEN}" if scheme else HIDDEN


def quoted(value: object) -> str:
    """What was found where something else was expected, as Python writes it."""
    return repr(shown(value)) if isinstance(value, str) else redact(repr(value))


def redact(text: str) -> str:
    """``text`` with ``address`` for every URL in it; for words that others put together."""
    return _IN_TEXT.sub(_redacted, text)


def _redacted(match: re.Match[str]) -> str:
    scheme, token, more = match.groups()
    if scheme.lower() == "file" or _PLACEHOLDER.fullmatch(token):
        return match[0]
    closing = _CLOSING.search(token)
    end = closing[0] if closing else ""
    url = f"{scheme}://{token.removesuffix(end)}"
    found = address(url)
    if url == f"{found}/":
        # The page's own address.
        return match[0]
    if more and found.endswith(HIDDEN):
        return found
    if scheme.lower() in ("mqtt", "mqtts") and "@" not in token and not found.endswith(HIDDEN):
        # Behind the host is a topic, and one with a user or a password is refused.
        return match[0]
    return f"{found}{end}{more or ''}"
