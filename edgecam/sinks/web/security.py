"""Who may talk to the live page: the token, the exact names of the host, and the origin.

A page of another site cannot read an answer of this one, but it can send requests, open
WebSockets, and point its own name at this address (DNS rebinding). So every request has to name
a host that is ours, and whatever changes something has to come from our own page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgecam.core.errors import PageError

# A form or an image of another site cannot send a header of its own.
CONTROL_HEADER = "X-Edgecam"
MIN_TOKEN_LENGTH = 16
POLICY = "Content-Security-Policy"
HEADERS: Mapping[str, str] = {
    POLICY: "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": under that browsers send "Origin: null" with our own form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    # Not which versions of what.
    "Server": "edgecam",
}
_HOST = r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*))"
_LISTEN = re.compile(rf"{_HOST}:(?P<port>[0-9]{{1,5}})")
_NAME = re.compile(rf"{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?")
# Browsers leave these out.
_USUAL_PORTS = ("80", "443")


def _bare(match: re.Match[str]) -> str | None:
    """The host as browsers write it, without brackets; None if it is no address."""
    if match["host"] is not None:
        return match["host"].lower()
    try:
        return str(ipaddress.IPv6Address(match["six"]))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served; ``port`` 0 takes any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Raises:
            PageError: ``text`` is not HOST:PORT.
        """
        match = _LISTEN.fullmatch(text)
        host = None if match is None else _bare(match)
        if match is None or host is None or int(match["port"]) > 65535:
            raise PageError(
                f"--web: expected HOST:PORT such as 127.0.0.1:8080 or [::1]:8080, found {text!r}"
            )
        return cls(host, int(match["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; a name counts as far, ``localhost`` excepted."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of this machine, and names none."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """What to type into a browser."""
        own = Address(socket.gethostname().lower(), self.port) if self.is_wildcard else self
        return f"http://{own}/"

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def further_name(text: str) -> str:
    """A name or NAME:PORT of ``web.hosts`` as the header ``Host`` has it.

    Raises:
        PageError: no browser would ever send it.
    """
    match = _NAME.fullmatch(text)
    bare = None if match is None else _bare(match)
    if match is None or bare is None or int(match["port"] or 0) > 65535:
        raise PageError(
            "web.hosts: expected names as browsers send them, NAME or NAME:PORT such as "
            f"camera.example or camera.example:8443, found {text!r:.80}"
        )
    port = match["port"]
    return _bracketed(bare) + ("" if port is None or port in _USUAL_PORTS else f":{port}")


LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


def _own_names(address: Address) -> set[str]:
    if address.is_loopback:
        return set(LOOPBACK_NAMES)
    name = socket.gethostname().lower()
    names = {name, f"{name.partition('.')[0]}.local"}
    if not address.is_wildcard:
        names.add(_bracketed(address.host))
    return names


def _reached(local_address: str) -> set[str]:
    """What a browser may call the address of ours that it reached."""
    try:
        address = ipaddress.ip_address(local_address.partition("%")[0])
    except ValueError:
        return set()
    # A socket for both kinds shows IPv4 like this.
    address = getattr(address, "ipv4_mapped", None) or address
    names = {_bracketed(str(address))}
    return names | LOOPBACK_NAMES if address.is_loopback else names


def _same(given: str, right: str) -> bool:
    # A header's bytes that are no UTF-8 come as lone surrogates, which are refused by default.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())


class Guard:
    """Decides about requests; knows nothing of what serves them.

    ``hosts`` are further names under which browsers reach the page: with a port exactly so, else
    with this page's port or, as behind a proxy, with none. ``token`` is None only where the
    address is this machine's alone. ``read_token`` opens what others read, and nothing else.

    Raises:
        PageError: the address is reached from elsewhere and there is no token, or a weak one; or
            one of ``hosts`` is no name.
    """

    def __init__(
        self,
        address: Address,
        hosts: Iterable[str],
        token: str | None,
        read_token: str | None = None,
    ) -> None:
        if token is None and not address.is_loopback:
            raise PageError(
                f"--web {address} is reached from other machines and needs a token, found none; "
                "write 16 or more random characters into a file and name it: web.token_file"
            )
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise PageError(
                f"web.token_file: expected {MIN_TOKEN_LENGTH} or more characters, "
                f"found {len(token)}; try: openssl rand -hex 16"
            )
        if read_token is not None and (len(read_token) < MIN_TOKEN_LENGTH or read_token == token):
            raise PageError(
                f"web.read_token_file: expected {MIN_TOKEN_LENGTH} or more characters, other than "
                f"the page's own token, found {len(read_token)}; try: openssl rand -hex 16"
            )
        self._read_token = read_token
        self.address = address
        further = {further_name(name) for name in hosts}
        self._names = _own_names(address) | further
        self._exact = further
        # Cookies know no ports: several pages of one machine must not overwrite each other's.
        self.cookie = f"edgecam-{address.port}"
        self._token = token
        # Not the token itself: what a browser keeps does not open other clients.
        self.session = (
            None
            if token is None
            else hmac.new(token.encode(), b"edgecam session", hashlib.sha256).hexdigest()
        )

    def knows_host(self, host: str | None, local_address: str) -> bool:
        """Whether the header ``Host`` is a name of ours or the very address that was reached."""
        if host is None:
            return False
        names = self._names | _reached(local_address)
        allowed = {f"{name}:{self.address.port}" for name in names} | self._exact
        if self.address.port == 80:
            allowed |= names
        return host.lower() in allowed

    @staticmethod
    def is_own_origin(origin: str, host: str) -> bool:
        """Whether ``Origin`` is the page that this ``host`` (already known) served."""
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")

    def is_token(self, text: str) -> bool:
        """Whether the text is the token, compared in constant time."""
        return self._token is not None and _same(text, self._token)

    def is_read_token(self, text: str) -> bool:
        """Whether it is the token that opens pictures and ``/api``."""
        return self._read_token is not None and _same(text, self._read_token)

    def is_session(self, cookie: str | None) -> bool:
        """Whether a request needs no token, or has the cookie that stands for it."""
        return self.session is None or _same(cookie or "", self.session)


def basic(authorization: str | None) -> str | None:
    """The password in the header ``Authorization``, for programs that know nothing else."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except ValueError:
        return None
    return text.partition(":")[2]


def bearer(authorization: str | None) -> str | None:
    """The token in the header ``Authorization``, None if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
