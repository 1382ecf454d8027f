"""Is anybody there: a TCP connection, with the reason in words where it fails."""

from __future__ import annotations

import errno
import socket
import time

from edgecam.mqtt.address import BrokerAddress
from edgecam.sources.supervised import StreamError
from edgecam.sources.url import StreamUrl


def connect(url: StreamUrl | BrokerAddress, timeout_s: float) -> socket.socket:
    """A TCP connection to the URL's host; raises StreamError with what stopped it.

    All addresses that the host has share ``timeout_s``.
    """
    where = f"{url.host}:{url.port}"
    try:
        connection = _first(url.host, url.port, timeout_s)
    except socket.gaierror as error:
        raise StreamError("unresolved", f"{url.host}: {error.strerror or 'unknown host'}") from None
    except TimeoutError:
        raise StreamError("unreachable", f"{where} does not answer") from None
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            raise StreamError("refused", f"{where} refuses connections") from None
        raise StreamError("unreachable", f"{where}: {error.strerror or error}") from None
    except UnicodeError:
        raise StreamError("unresolved", f"{url.host}: not a host name") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _first(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to the first address that answers; raises OSError of the last one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    deadline_s = time.monotonic() + timeout_s
    failed: OSError = TimeoutError()
    for place, (family, kind, protocol, _, address) in enumerate(found):
        # One that swallows everything, such as a broken IPv6, leaves time for those after it.
        left_s = (deadline_s - time.monotonic()) / (len(found) - place)
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:
            failed = error
            continue
        try:
            connection.settimeout(max(0.001, left_s))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
        else:
            return connection
    raise failed
