"""The broker that the settings name: reached, trusted, logged in to, and by Home Assistant too."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

from edgecam.core.errors import SinkError
from edgecam.core.redaction import address
from edgecam.mqtt.connection import Connection
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn
from edgecam.tools.doctor.passing_on import Visit, limits, passing_on

SOON_S = 14 * 86_400.0
# A certificate that is refused says why in OpenSSL's words.
CERTIFICATES = (
    ("expired", "renew the broker's certificate, or set this clock right"),
    ("not yet valid", "set this clock right: timedatectl set-ntp true"),
    ("self-signed", "name the certificate, or its CA's, in mqtt.ca_file"),
    ("self signed", "name the certificate, or its CA's, in mqtt.ca_file"),
    ("local issuer", "name in mqtt.ca_file the CA that signed the broker's certificate"),
    ("mismatch", "use in mqtt.url the name that is in the certificate"),
    ("not valid for", "use in mqtt.url the name that is in the certificate"),
    ("speak TLS", "use mqtt:// for this port, or the port on which the broker speaks TLS"),
)
NETWORK = (
    ("cannot resolve", "fix the host name in mqtt.url, or use its address"),
    ("connection refused", "start the broker (systemctl start mosquitto), or fix mqtt.url"),
    ("mqtts://", "use mqtts:// and the broker's TLS port (8883), or a port that speaks MQTT"),
    ("is it a broker", "fix the port in mqtt.url: 1883, or 8883 with mqtts://"),
    ("no answer", "fix the address in mqtt.url, or let the firewall pass the port"),
)
REMEDIES = {
    "login": "fix mqtt.username and mqtt.password_file, or the broker's list of users",
    "handshake": "name mqtt.certificate_file and mqtt.key_file if the broker wants them, else "
    "use the port on which it speaks TLS (8883)",
}


def _remedy(error: SinkError) -> str:
    for words, remedy in CERTIFICATES if error.kind == "tls" else NETWORK:
        if error.kind in ("tls", "network") and words in str(error):
            return remedy
    return REMEDIES.get(error.kind or "", "fix mqtt.url, or the broker's listener and firewall")


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether the broker answers, accepts certificates and login, passes messages on."""
    if settings.mqtt.url is None:
        yield ok("broker", "none in the settings")
        return
    try:
        visit = Visit(settings)
    except SinkError as error:
        yield fail("broker", str(error), _remedy(error))
        return
    try:
        yield from _trust(settings, visit.connection)
        yield limits(settings, visit.connection)
        yield from passing_on(settings, visit)
        if settings.homeassistant.enabled:
            birth = settings.homeassistant.birth_topic
            yield _birth(birth, visit.heard.get(birth))
    except SinkError as error:
        yield fail("broker", str(error), _remedy(error))
    finally:
        visit.close()


def _trust(settings: Settings, connection: Connection) -> Iterator[Finding]:
    who = f"user {settings.mqtt.username!r}" if settings.mqtt.username else "no user name"
    yield ok("broker", f"{address(settings.mqtt.url or '')} answers and takes the login ({who})")
    if connection.tls is None:
        yield ok("broker", "no TLS: for a network that you trust")
        return
    version, until = connection.tls
    text = f"{version}, certificate accepted, valid until {until}"
    if until and ssl.cert_time_to_seconds(until) < time.time() + SOON_S:
        yield warn("broker", text, "renew the broker's certificate before it expires")
    else:
        yield ok("broker", text)


def _birth(topic: str, payload: bytes | None) -> Finding:
    if payload == b"online":
        return ok("home assistant", f"says online on {topic}")
    if payload is None:
        text = f"not heard on {topic}: absent, or its birth message is not retained"
        remedy = (
            "in its MQTT options let birth and will be retained, and restart it; without Home "
            "Assistant set homeassistant.enabled = false"
        )
        return warn("home assistant", text, remedy)
    said = payload[:40].decode("utf-8", "replace")
    remedy = "start Home Assistant, or fix its MQTT integration"
    return warn("home assistant", f"says {said!r} on {topic}, not online", remedy)
