"""Who may talk to the live page: the token, the exact names of the host, and the origin.

A page of another site cannot read an answer of this one, but it can send requests, open
WebSockets, and point its own name at this address (DNS rebinding). So every request has to name
a host that is ours, and whatever changes something has to come from our own page.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgecam.types import SettingsError

# A form or an image of another site cannot send a header of its own.
CONTROL_HEADER = "X-Edgecam"
MIN_TOKEN_LENGTH = 16
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": under that browsers send "Origin: null" with our own form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served; ``port`` 0 takes any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        Raises:
            SettingsError: ``text`` is not HOST:PORT.
        """
        match = _LISTEN.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise SettingsError(
                f"--web: expected HOST:PORT such as 127.0.0.1:8080 or [::1]:8080, found {text!r}"
            )
        return cls((match["six"] or match["host"]).lower(), int(match["port"]))

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
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _own_names(address: Address) -> set[str]:
    if address.is_loopback:
        return {"127.0.0.1", "localhost", "[::1]"}
    name = socket.gethostname().lower()
    names = {name, f"{name.partition('.')[0]}.local"}
    if not address.is_wildcard:
        names.add(f"[{address.host}]" if ":" in address.host else address.host)
    return names


def _same(given: str, right: str) -> bool:
    # A header's bytes that are no UTF-8 come as lone surrogates, which are refused by default.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())


class Guard:
    """Decides about requests; knows nothing of what serves them.

    ``hosts`` are further names under which browsers reach the page: with a port exactly so, else
    with this page's port or, as behind a proxy, with none. ``token`` is None only where the
    address is this machine's alone.

    Raises:
        SettingsError: the address is reached from elsewhere and there is no token, or a weak one.
    """

    def __init__(self, address: Address, hosts: Iterable[str], token: str | None) -> None:
        if token is None and not address.is_loopback:
            raise SettingsError(
                f"--web {address} is reached from other machines and needs a token, found none; "
                "write 16 or more random characters into a file and name it: web.token_file"
            )
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise SettingsError(
                f"web.token_file: expected {MIN_TOKEN_LENGTH} or more characters, "
                f"found {len(token)}; try: openssl rand -hex 16"
            )
        self._port = address.port
        further = {name.lower() for name in hosts}
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
        bare = f"[{local_address}]" if ":" in local_address else local_address
        names = self._names | {bare}
        allowed = {f"{name}:{self._port}" for name in names} | self._exact
        if self._port == 80:
            allowed |= names
        return host.lower() in allowed

    @staticmethod
    def is_own_origin(origin: str, host: str) -> bool:
        """Whether ``Origin`` is the page that this ``host`` (already known) served."""
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")

    def is_token(self, text: str) -> bool:
        return self._token is not None and _same(text, self._token)

    def may_enter(self, authorization: str | None, cookie: str | None) -> bool:
        """Whether a request carries the token (``Bearer``) or the cookie that stands for it."""
        if self.session is None:
            return True
        scheme, _, bearer = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(bearer.strip()):
            return True
        return _same(cookie or "", self.session)
