"""Where the live page is reached and what opens it: checked before anything else is opened."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field

from edgecam.core.errors import PageError
from edgecam.settings.access import WebSettings
from edgecam.settings.credentials import read_read_token, read_token
from edgecam.sinks.web.security import Address, Guard

BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Entrance:
    """What of the settings decides who gets in; ``warning`` is a line for the log."""

    address: Address
    hosts: tuple[str, ...]
    token: str | None = field(repr=False)
    warning: str | None = None
    read_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: WebSettings) -> Entrance:
        """
        Raises:
            PageError: the address, a name or the token will not do.
        """
        address = Address.parse(settings.listen or "")
        token = read_token(settings.token_file)
        secret, warning = (None, None) if token is None else (token.secret, token.warning)
        reading = read_read_token(settings.read_token_file)
        if reading is not None:
            warning = warning or reading.warning
        read = None if reading is None else reading.secret
        found = cls(address, settings.hosts, secret, warning, read)
        found.guard(address.port)
        return found

    def guard(self, port: int) -> Guard:
        """Who decides once it is known which port it is."""
        return Guard(Address(self.address.host, port), self.hosts, self.token, self.read_token)

    def listen(self) -> socket.socket:
        """
        Raises:
            PageError: nothing can listen there.
        """
        host, port = self.address.host, self.address.port
        is_six = ":" in host
        try:
            # Of itself create_server hides that it is the name which is unknown.
            socket.getaddrinfo(host, port)
            return socket.create_server(
                (host, port),
                family=socket.AF_INET6 if is_six else socket.AF_INET,
                backlog=BACKLOG,
                # All addresses are IPv4's as well, where the system knows how.
                dualstack_ipv6=is_six and self.address.is_wildcard and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            raise PageError(f"--web {self.address}: {_why(error, host, port)}") from None


def _why(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"expected a name with an address, found none for {host!r}; give an address"
    if error.errno == errno.EADDRINUSE:
        another = port + 1 if port < 65535 else 8080
        return f"port {port} is taken by another program; end it, or give another such as {another}"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"{host} is no address of this machine; give one that is, or 127.0.0.1"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is reserved for root; give one above 1023, such as 8080"
    return f"the system does not let it listen there: {os.strerror(error.errno or 0)}"
