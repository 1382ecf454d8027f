"""Stream URLs: checked once, and never shown with their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from edgecam.core.errors import SourceError
from edgecam.core.redaction import HIDDEN, address

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
# What is part of an address and what is not is for others to say.
PRINTABLE = "".join(map(chr, range(33, 127)))
MAX_HOST_CHARACTERS = 255
_ESCAPES = (
    "in a user name or password write / as %2F, ? as %3F, # as %23, : as %3A, @ as %40 and a blank "
    "as %20, and in a path @ as %40"
)
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
    def origin(self) -> tuple[str, str, int]:
        """Whom the credentials are for."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as an HTTP request names them; raises ValueError for an odd host."""
        host = self.host if self.host.isascii() else self.host.encode("idna").decode()
        host = f"[{host}]" if ":" in host else host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """Scheme, host and port: a camera's password may stand anywhere else."""
        return address(self.full)

    @property
    def bare(self) -> str:
        """The URL without credentials."""
        return _USER.sub("", self.full)


def escape(text: str | bytes) -> str:
    """``text`` with blanks, control characters and all beyond ASCII as ``%XX``."""
    return quote(text, safe=PRINTABLE)


def parse(url: str) -> StreamUrl:
    """Take ``url`` apart; raises SourceError where it names no host or a port that is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its own words may be a part of the password.
        raise SourceError(f"{address(url)}: not a URL; {_ESCAPES}") from None
    scheme = parts.scheme.lower()
    # Escaped ones too: a user's name goes into a header.
    plain = unquote(parts.netloc)
    if (
        not host
        or len(host) > MAX_HOST_CHARACTERS
        or any(character.isspace() or ord(character) < 32 for character in url)
        or any(ord(character) < 32 for character in plain)
    ):
        raise SourceError(
            f"{address(url)}: not a URL; expected {scheme}://HOST[:PORT]/PATH, and {_ESCAPES}"
        )
    if scheme not in DEFAULT_PORTS:
        raise SourceError(f"{scheme}:// is no network stream; expected {', '.join(DEFAULT_PORTS)}")
    if address(url).endswith(HIDDEN):
        # Where the host ends is unknown, and every message would show it.
        raise SourceError(f"{address(url)}: an @ behind the host, or no host; {_ESCAPES}")
    target = escape((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    username = unquote(parts.username) if parts.username is not None else None
    password = unquote(parts.password or "")
    return StreamUrl(url, scheme, host, port or DEFAULT_PORTS[scheme], target, username, password)
