"""``edgecam doctor`` and faults of a broker and of network cameras, each planted for real."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authority import Authority, listener
from brokers import Mosquitto
from doctors import examine, toml

from edgecam.settings.load import load
from edgecam.settings.schema import Settings
from edgecam.sources.remedies import OF_CAMERA, OVER_MQTT
from edgecam.tools.doctor import cameras as vision
from edgecam.tools.doctor import network
from edgecam.tools.doctor.finding import Finding
from tests.servers import Server

Make = Callable[..., Mosquitto]


def broker_of(folder: Path, url: str, *lines: str, birth: bool = False) -> list[Finding]:
    """What the check of the broker says; a ``birth`` that is not there is waited for."""
    home = ("[homeassistant]", f"enabled = {str(birth).lower()}")
    text = "\n".join(("[mqtt]", f'url = "{url}"', *lines, *home))
    return list(network.broker(load(toml(folder, text), {}, {})))


def only_fault(findings: list[Finding]) -> tuple[str, str]:
    (fault,) = (finding for finding in findings if finding.level == "fail")
    return fault.text, fault.remedy or ""


def publish(broker: Mosquitto, topic: str, payload: str) -> None:
    command = ["mosquitto_pub", "-p", str(broker.port), "-r", "-t", topic, "-m", payload]
    subprocess.run(command, check=True)


def test_a_wrong_password(tmp_path: Path, make_mosquitto: Make) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "eva", "right"], check=True)
    password.write_text("wrong\n")
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {users}")
    broker.start()
    login = ('username = "eva"', f'password_file = "{password}"')
    text, remedy = only_fault(broker_of(tmp_path, broker.url, *login))
    assert "login refused (user 'eva')" in text
    assert "mqtt.password_file" in remedy
    assert "wrong" not in text + remedy
    text, remedy = only_fault(broker_of(tmp_path, broker.url))
    assert "login refused (no user name)" in text
    assert "mqtt.username" in remedy
    password.write_text("right\n")
    accepted = broker_of(tmp_path, broker.url, *login)
    assert not [finding for finding in accepted if finding.level == "fail"]
    assert "takes the login (user 'eva')" in accepted[0].text


def test_a_login_that_may_not_publish(tmp_path: Path, make_mosquitto: Make) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read edgecam/#\n")
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    text, remedy = only_fault(broker_of(tmp_path, broker.url))
    assert "edgecam/camera/doctor does not come back" in text
    assert "ACL" in remedy


def test_a_login_that_may_not_publish_events_or_discovery(
    tmp_path: Path, make_mosquitto: Make
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edgecam/camera/doctor\ntopic read #\n")
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    found = [f for f in broker_of(tmp_path, broker.url, birth=True) if f.level == "fail"]
    assert [finding.text for finding in found] == [
        f"what is published on {topic} does not come back (not authorized)"
        for topic in (
            "edgecam/camera/event",
            "edgecam/camera/result",
            "homeassistant/sensor/edgecam_camera/doctor/config",
        )
    ]
    assert "homeassistant/# (the broker's ACL)" in (found[2].remedy or "")


def test_what_a_running_instance_is_refused(tmp_path: Path, make_mosquitto: Make) -> None:
    broker = make_mosquitto("allow_anonymous true")
    broker.start()
    publish(broker, "edgecam/camera/availability", "online")
    refused = '{"mqtt":{"refused":[{"topic":"edgecam/camera/event","reason":"not\\nauthorized"}]}}'
    publish(broker, "edgecam/camera/telemetry", refused)
    text, remedy = only_fault(broker_of(tmp_path, broker.url))
    assert text == "the running instance says of 'edgecam/camera/event': 'not\\nauthorized'"
    assert "edgecam/camera/event" in remedy
    for nonsense in ("{", "[]", '{"mqtt":null}', '{"mqtt":{"refused":[1]}}'):
        publish(broker, "edgecam/camera/telemetry", nonsense)
        assert not [f for f in broker_of(tmp_path, broker.url) if f.level == "fail"]


@pytest.mark.parametrize(
    ("line", "level", "words"),
    [
        ("", "ok", "MQTT 5"),
        ("max_packet_size 1500", "fail", "packets of at most 1500 bytes: events do not fit"),
        ("max_packet_size 20000", "warn", "a snapshot may not fit"),
        ("max_qos 0", "warn", "QoS 0 only"),
        ("retain_available false", "warn", "nothing retained"),
    ],
)
def test_the_limits_of_a_broker(
    line: str, level: str, words: str, tmp_path: Path, make_mosquitto: Make
) -> None:
    broker = make_mosquitto(f"allow_anonymous true\n{line}")
    broker.start()
    found = broker_of(tmp_path, broker.url, "[snapshot]", 'mode = "skeleton"')
    said = next(finding for finding in found if finding.text.startswith("MQTT 5"))
    assert (said.level, words in said.text) == (level, True)
    assert [finding.level for finding in found].count("fail") == (level == "fail")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def tls_broker(make: Make, authority: Authority, name: str, **how: object) -> str:
    broker = make(listener(*authority.issue(name, **how)))
    broker.start()
    return broker.url.replace("mqtt://", "mqtts://")


def test_tls_that_is_in_order_says_until_when(
    tmp_path: Path, make_mosquitto: Make, authority: Authority
) -> None:
    trusted = f'ca_file = "{authority.certificate}"'
    url = tls_broker(make_mosquitto, authority, "server")
    (line,) = [f for f in broker_of(tmp_path, url, trusted) if "TLSv1" in f.text]
    assert line.level == "ok"
    assert "valid until" in line.text
    url = tls_broker(make_mosquitto, authority, "short", days=2)
    (line,) = [f for f in broker_of(tmp_path, url, trusted) if "TLSv1" in f.text]
    assert line.level == "warn"
    assert "renew" in (line.remedy or "")


@pytest.mark.parametrize(
    ("trusts", "how", "said", "remedy"),
    [
        ("other", {}, "certificate refused", "mqtt.ca_file"),
        ("ca", {"days": -1}, "expired", "renew the broker's certificate"),
        ("ca", {"alternatives": "DNS:elsewhere.example"}, "127.0.0.1", "the name that is in the"),
    ],
    ids=["another authority", "expired", "another name"],
)
def test_certificates_that_are_refused(
    tmp_path: Path,
    make_mosquitto: Make,
    authority: Authority,
    trusts: str,
    how: dict[str, object],
    said: str,
    remedy: str,
) -> None:
    Authority(tmp_path, "other")
    url = tls_broker(make_mosquitto, authority, "server", **how)
    text, found = only_fault(broker_of(tmp_path, url, f'ca_file = "{tmp_path}/{trusts}.crt"'))
    assert said in text
    assert remedy in found


def test_plain_tcp_behind_mqtts_and_tls_behind_mqtt(
    tmp_path: Path, mosquitto: Mosquitto, make_mosquitto: Make, authority: Authority
) -> None:
    trusted = f'ca_file = "{authority.certificate}"'
    text, remedy = only_fault(
        broker_of(tmp_path, mosquitto.url.replace("mqtt:", "mqtts:"), trusted)
    )
    assert "TLS" in text
    assert "the port on which" in remedy
    url = tls_broker(make_mosquitto, authority, "server").replace("mqtts:", "mqtt:")
    text, remedy = only_fault(broker_of(tmp_path, url))
    assert "closed before it answered" in text
    assert "use mqtts://" in remedy


def test_a_certificate_that_no_authority_signed(
    tmp_path: Path, make_mosquitto: Make, authority: Authority
) -> None:
    Authority(tmp_path, "other")
    broker = make_mosquitto(listener(authority.certificate, authority.key))
    broker.start()
    trusted = f'ca_file = "{tmp_path}/other.crt"'
    text, remedy = only_fault(broker_of(tmp_path, broker.url.replace("mqtt:", "mqtts:"), trusted))
    assert "certificate refused: self" in text
    assert remedy == "name the certificate, or its CA's, in mqtt.ca_file"


def test_a_clock_that_is_before_the_certificate(
    tmp_path: Path, make_mosquitto: Make, authority: Authority
) -> None:
    """As of a board without a battery, before it has heard of the time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    url = tls_broker(make_mosquitto, authority, "server")
    config = toml(tmp_path, f'mqtt.url = "{url}"\nmqtt.ca_file = "{authority.certificate}"\n')
    report = examine("broker", config=config, LD_PRELOAD=str(found[0]), FAKETIME="-40d")
    text, remedy = report.only("broker", "fail")
    assert "not yet valid" in text
    assert remedy == "set this clock right: timedatectl set-ntp true"


def test_a_broker_that_wants_our_certificate(
    tmp_path: Path, make_mosquitto: Make, authority: Authority
) -> None:
    more = f"require_certificate true\ncafile {authority.certificate}\nallow_anonymous true"
    broker = make_mosquitto(listener(*authority.issue("server"), more))
    broker.start()
    url, trusted = broker.url.replace("mqtt:", "mqtts:"), f'ca_file = "{authority.certificate}"'
    text, remedy = only_fault(broker_of(tmp_path, url, trusted))
    assert "client certificate" in text
    assert "mqtt.certificate_file" in remedy


def test_a_host_that_has_no_address(tmp_path: Path) -> None:
    text, remedy = only_fault(broker_of(tmp_path, "mqtt://no-such-broker.invalid"))
    assert "cannot resolve" in text
    assert "host name in mqtt.url" in remedy


def test_a_broker_that_says_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Server("proxy.py", [str(mosquitto.port)]) as proxy:
        proxy.tell("mute")
        text, remedy = only_fault(broker_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}"))
    assert "is it a broker?" in text
    assert "fix the port" in remedy


@pytest.mark.parametrize(
    ("payload", "level", "said"),
    [(None, "warn", "not heard"), ("online", "ok", "online"), ("offline", "warn", "'offline'")],
)
def test_the_birth_of_home_assistant(
    tmp_path: Path, mosquitto: Mosquitto, payload: str | None, level: str, said: str
) -> None:
    if payload is not None:
        publish(mosquitto, "homeassistant/status", payload)
    heard = broker_of(tmp_path, mosquitto.url, birth=True)
    (line,) = [f for f in heard if f.check == "home assistant"]
    assert line.level == level
    assert said in line.text
    if payload is None:
        assert "homeassistant.enabled = false" in (line.remedy or "")
    silent = broker_of(tmp_path, mosquitto.url)
    assert not [f for f in silent if f.check == "home assistant"]


def source_fault(settings: Settings) -> tuple[str, str]:
    return only_fault(list(vision.source(settings)))


@pytest.fixture(scope="module")
def camera() -> Iterator[Server]:
    with Server("mjpeg.py") as server:
        yield server


@pytest.mark.parametrize(
    ("mode", "path", "said", "remedy"),
    [
        ("mute", "stream", "", "restart the camera"),
        ("good", "digest", "401", "user and password"),
        ("good", "nothing", "404", "fix the path"),
        ("garbage", "stream", "", ""),
        ("page", "stream", "not with a picture stream", "fix the path"),
        ("text", "stream", "does not speak HTTP", "fix the path"),
        ("refuse", "stream", "refuses connections", "fix the port"),
    ],
)
def test_a_network_camera_that_does_not_deliver(
    tmp_path: Path, camera: Server, mode: str, path: str, said: str, remedy: str
) -> None:
    camera.tell(mode)
    url = f"http://127.0.0.1:{camera.port}/{path}"
    settings = load(toml(tmp_path, f'[source]\nurl = "{url}"\n'), {}, {})
    if mode == "garbage":
        # Every second part is whole: such a camera delivers.
        assert [finding.level for finding in vision.source(settings)] == ["ok"]
        return
    text, found = source_fault(settings)
    assert said in text
    assert remedy in found


@pytest.mark.parametrize(
    ("url", "said", "remedy"),
    [
        ("http://none.invalid/stream", "none.invalid", OF_CAMERA["unresolved"]),
        ("mqtt://127.0.0.1:1/edgecam/+/frame", "refuses connections", OVER_MQTT["refused"]),
        ("/nonexistent/clip.mp4", "No such file or directory", "check the path of the source"),
        ("ftp://host/clip.mp4", "source ftp:// is of no known kind", "expected a camera index"),
    ],
)
def test_a_source_that_does_not_open(tmp_path: Path, url: str, said: str, remedy: str) -> None:
    text, found = source_fault(load(toml(tmp_path, f'source.url = "{url}"\n'), {}, {}))
    assert said in text
    assert found.startswith(remedy)


def test_a_machine_without_a_network(tmp_path: Path) -> None:
    prefix = ("unshare", "--net")
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("no network of its own can be made here (Debian: apt install util-linux)")
    text = 'source.url = "http://192.0.2.1/stream"\nmqtt.url = "mqtt://192.0.2.1"\n'
    report = examine("source", "broker", config=toml(tmp_path, text), prefix=prefix)
    found, remedy = report.only("source", "fail")
    assert "unreachable" in found
    assert remedy == OF_CAMERA["unreachable"]
    found, remedy = report.only("broker", "fail")
    assert "unreachable" in found
    assert remedy == "fix mqtt.url, or the broker's listener and firewall"
    assert report.code == 1


def test_a_mute_rtsp_server_through_the_whole_program(tmp_path: Path, mosquitto: Mosquitto) -> None:
    # Whatever it stands before: it accepts, and never says a word.
    with Server("proxy.py", [str(mosquitto.port)]) as mute:
        mute.tell("mute")
        config = toml(tmp_path, f'[source]\nurl = "rtsp://127.0.0.1:{mute.port}/stream"\n')
        report = examine("source", config=config)
    text, remedy = report.only("source", "fail")
    assert f"127.0.0.1:{mute.port}" in text
    assert remedy == OF_CAMERA["silent"]
    assert report.code == 1
