"""Stream URLs: checked once, and never shown with their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from edgecam.credentials import redact
from edgecam.types import SourceError

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_USER = re.compile(r"(?<=://)[^/?#\s]*@")


@dataclass(frozen=True, slots=True)
class StreamUrl:
    """A network stream's address, taken apart; ``full`` alone carries the credentials."""

    full: str = field(repr=False)
    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    username: str | None = field(repr=False)
    password: str = field(repr=False)

    @property
    def shown(self) -> str:
        return redact(self.full)

    @property
    def bare(self) -> str:
        """The URL without credentials."""
        return _USER.sub("", self.full)


def parse(url: str) -> StreamUrl:
    """Take ``url`` apart; raises SourceError where it names no host or a port that is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its own words may be a part of the password.
        raise SourceError(
            f"{redact(url)}: not a URL; in a password write / as %2F, @ as %40 and : as %3A"
        ) from None
    scheme = parts.scheme.lower()
    if not host or any(character.isspace() or ord(character) < 32 for character in url):
        raise SourceError(f"{redact(url)}: not a URL; expected {scheme}://HOST[:PORT]/PATH")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    username = unquote(parts.username) if parts.username is not None else None
    password = unquote(parts.password or "")
    return StreamUrl(url, scheme, host, port or DEFAULT_PORTS[scheme], target, username, password)
