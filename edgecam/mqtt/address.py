"""Where the broker is, how it is trusted, and in words why it cannot be used."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from edgecam.core.errors import SettingsError
from edgecam.core.places import expanded
from edgecam.core.redaction import address as address_of
from edgecam.settings.schema import MqttSettings

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
EXPECTED = "expected mqtt://HOST[:1883] or mqtts://HOST[:8883]"
_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")

FaultKind = Literal["network", "handshake", "tls", "login", "name"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no connection; ``tls``, ``login`` and ``name`` faults need a person, not
    patience.

    ``handshake`` faults do as well, unless a handshake has succeeded before.
    """

    kind: FaultKind
    reason: str


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Host, port and whether TLS is spoken."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_url(url: str, key: str = "mqtt.url") -> BrokerAddress:
    """``key`` is the setting that an error names.

    Raises:
        SettingsError: no MQTT URL, or one with a password, a path or a query in it.
    """
    match = _HOST.fullmatch(url)
    if match is not None:
        # A host alone, as people write it.
        url = f"{'mqtts' if match[3] == ':8883' else 'mqtt'}://{url}"
    shown = address_of(url)
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        # Its own words may be a part of a password.
        raise SettingsError(f"{key}: {EXPECTED}, found {shown!r}") from None
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            f"{key}: expected no user or password in the URL (the process list would show them), "
            f"found one before the host of {shown!r}; use mqtt.username and mqtt.password_file"
        )
    if parts.scheme in DEFAULT_PORTS and (parts.path.strip("/") or parts.query or parts.fragment):
        raise SettingsError(f"{key}: {EXPECTED}, found more than that behind {shown!r}")
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise SettingsError(f"{key}: {EXPECTED}, found {shown!r}")
    return BrokerAddress(host, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts")


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """A context that checks the broker's certificate and its name, and shows ours if we have one.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=_file(settings.ca_file, "ca_file"))
    except (OSError, ssl.SSLError) as error:
        raise _bad_file("ca_file", settings.ca_file, "PEM certificates", error) from None
    certificate = _file(settings.certificate_file, "certificate_file")
    if certificate is None:
        return context
    key = _file(settings.key_file, "key_file")
    try:
        # An empty passphrase: a daemon cannot ask for one.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise _bad_file(
            "certificate_file",
            f"{settings.certificate_file}, key {settings.key_file}",
            "a PEM certificate and its key without passphrase",
            error,
        ) from None
    return context


def _file(path: str | None, key: str) -> str | None:
    return None if path is None else expanded(path, f"mqtt.{key}")


def _bad_file(key: str, file: str | None, expected: str, error: OSError) -> SettingsError:
    return SettingsError(f"mqtt.{key}: {file}: expected {expected}, found: {_words(error)}")


def _words(error: OSError) -> str:
    text = error.strerror or str(error)
    return text.partition(" (_ssl.c")[0] if isinstance(error, ssl.SSLError) else text


def fault_of(error: OSError, address: BrokerAddress) -> Fault:
    """What an exception of connecting means, as one line for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault("tls", f"{address}: certificate refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return Fault("tls", f"{address}: the port does not speak TLS; use its TLS port, or mqtt://")
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError) and address.tls:
        return Fault(
            "handshake",
            f"{address}: closed during the TLS handshake; does the port speak TLS, and does the "
            "broker want a client certificate?",
        )
    if isinstance(error, ssl.SSLError):
        return Fault("tls", f"{address}: TLS failed: {_words(error)}")
    if isinstance(error, TimeoutError) and "handshake" in str(error):
        return Fault(
            "handshake", f"{address}: no answer to the TLS handshake; does the port speak TLS?"
        )
    if isinstance(error, socket.gaierror):
        return Fault("network", f"{address}: cannot resolve the name {address.host!r}")
    if isinstance(error, ConnectionRefusedError):
        return Fault("network", f"{address}: connection refused; is the broker running?")
    if isinstance(error, TimeoutError):
        return Fault("network", f"{address}: no answer")
    code = errno.errorcode.get(error.errno or 0, "")
    return Fault("network", f"{address}: {_words(error)} {code}".rstrip())


def tls_of(sock: object) -> tuple[str, str] | None:
    """Version of TLS, and until when the broker's certificate is valid; None without TLS."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    certificate = sock.getpeercert() or {}
    return sock.version() or "TLS", str(certificate.get("notAfter", ""))
