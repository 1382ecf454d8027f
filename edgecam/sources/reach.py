"""Is anybody there: a TCP connection, with the reason in words where it fails."""

from __future__ import annotations

import errno
import socket

from edgecam.mqtt.address import BrokerAddress
from edgecam.sources.supervised import StreamError
from edgecam.sources.url import StreamUrl


def connect(url: StreamUrl | BrokerAddress, timeout_s: float) -> socket.socket:
    """A TCP connection to the URL's host; raises StreamError with what stopped it."""
    where = f"{url.host}:{url.port}"
    try:
        connection = socket.create_connection((url.host, url.port), timeout_s)
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
