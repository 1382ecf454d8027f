"""TLS with real certificates: what is trusted, what is refused, and that nothing leaks."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from authority import Authority, listener
from brokers import Mosquitto, free_port, wait_until
from happened import wave

from edgecam.core.errors import SettingsError
from edgecam.core.opencv import cv2
from edgecam.mqtt.address import parse_url, tls_context
from edgecam.mqtt.frame_publisher import PicturePublisher
from edgecam.mqtt.login import login
from edgecam.settings.schema import MqttSettings, SourceSettings
from edgecam.sinks.mqtt.sink import MqttSink
from edgecam.sources import open_source

CANARY = "canary-4711"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


class Wiretap:
    """Passes connections on to a port, or answers them itself, and keeps what the client sends."""

    def __init__(self, to: int | bytes | None) -> None:
        """Bytes are the whole answer before it closes; None is no answer at all."""
        self._to = to
        self.attempts: list[float] = []
        self.sent = bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.attempts.append(time.monotonic())
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        if isinstance(self._to, bytes):
            self.sent += client.recv(65_536)
            client.sendall(self._to)
            client.close()
            return
        if self._to is None:
            self._copy(client, None)
            return
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=self._answer, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)

    def _copy(self, client: socket.socket, server: socket.socket | None) -> None:
        try:
            while data := client.recv(65_536):
                self.sent += data
                if server is not None:
                    server.sendall(data)
        except OSError:
            return

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65_536):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def wiretap() -> Iterator[Callable[..., Wiretap]]:
    made: list[Wiretap] = []

    def make(to: int | bytes | None) -> Wiretap:
        made.append(Wiretap(to))
        return made[-1]

    yield make
    for tap in made:
        tap.close()


@pytest.fixture
def open_sink(tmp_path: Path) -> Iterator[Callable[..., MqttSink]]:
    opened: list[MqttSink] = []
    password = tmp_path / "password"
    password.write_text(f"{CANARY}\n")
    password.chmod(0o600)

    def open_(port: int, host: str = "localhost", **more: Any) -> MqttSink:
        login = {"username": f"user-{CANARY}", "password_file": str(password), **more}
        settings = MqttSettings(url=f"mqtts://{host}:{port}", **login)
        opened.append(MqttSink(settings, "front", "b00t"))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close(0.5)


def faulty_broker(
    case: str, authority: Authority, tmp_path: Path, make: Callable[..., Mosquitto]
) -> int | bytes | None:
    """Start the broker that the case wants: its port, or what answers in its place."""
    answers = {"mute": None, "closing": b"", "web server": b"HTTP/1.1 400 Bad Request\r\n\r\n"}
    if case in answers:
        return answers[case]
    lines = {
        "plain TCP": lambda: "allow_anonymous true",
        "wrong CA": lambda: listener(*Authority(tmp_path, "another").issue("server")),
        "expired": lambda: listener(*authority.issue("server", days=-1)),
        "wrong name": lambda: listener(*authority.issue("server", "DNS:elsewhere.example")),
    }[case]()
    broker = make(lines)
    broker.start()
    return broker.port


CASES = {
    "plain TCP": "no answer to the TLS handshake; does the port speak TLS?",
    "mute": "no answer to the TLS handshake; does the port speak TLS?",
    "closing": "closed during the TLS handshake; does the port speak TLS",
    "web server": "the port does not speak TLS",
    "wrong CA": "certificate refused: unable to get local issuer certificate",
    "expired": "certificate refused: certificate has expired",
    "wrong name": "certificate refused: Hostname mismatch",
}


@pytest.mark.parametrize(
    "watch_s", [2.0, pytest.param(60.0, id="twice a minute at most", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("case", CASES)
def test_a_bad_broker_is_refused_with_its_reason_and_no_credential_leaves(
    case: str,
    watch_s: float,
    authority: Authority,
    tmp_path: Path,
    make_mosquitto: Callable[..., Mosquitto],
    wiretap: Callable[..., Wiretap],
    open_sink: Callable[..., MqttSink],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tap = wiretap(faulty_broker(case, authority, tmp_path, make_mosquitto))
    began_s = time.monotonic()
    sink = open_sink(tap.port, ca_file=str(authority.certificate))
    assert wait_until(lambda: CASES[case] in (sink.status().reason or ""), 8), sink.status()
    time.sleep(max(0.0, watch_s - (time.monotonic() - began_s)))
    report = sink.status()
    lines = [r for r in caplog.records if r.name.startswith("edgecam")]
    print(f"\n{case}: {len(tap.attempts)} attempts in {watch_s:.0f} s; {report.reason}")
    assert report.state == "disconnected"
    assert "\n" not in (report.reason or "")
    assert len(tap.attempts) <= 2
    assert CANARY.encode() not in tap.sent
    assert CANARY not in caplog.text
    assert len(lines) <= 2


def test_a_client_certificate_and_a_password_are_accepted(
    authority: Authority,
    tmp_path: Path,
    make_mosquitto: Callable[..., Mosquitto],
    wiretap: Callable[..., Wiretap],
    open_sink: Callable[..., MqttSink],
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"user-{CANARY}:{CANARY}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    strict = (
        f"require_certificate true\ncafile {authority.certificate}\n"
        f"allow_anonymous false\npassword_file {passwords}"
    )
    broker = make_mosquitto(listener(*authority.issue("server"), strict))
    broker.start()
    tap = wiretap(broker.port)
    certificate, key = authority.issue("client")
    ours = {"certificate_file": str(certificate), "key_file": str(key)}
    for host in ("localhost", "127.0.0.1"):
        sink = open_sink(tap.port, host, ca_file=str(authority.certificate), **ours)
        assert sink.wait_connected(60), sink.status()
        sink.publish_event(wave(text="x" * 100_000))
        assert wait_until(lambda sink=sink: sink.status().outbox_messages == 0)
    assert CANARY.encode() not in tap.sent
    bare = open_sink(broker.port, ca_file=str(authority.certificate))
    assert wait_until(lambda: "want a client certificate?" in (bare.status().reason or ""))
    time.sleep(2)
    assert bare.counters()["mqtt_connection_faults"] == 1


def test_pictures_come_over_tls_with_a_client_certificate_and_a_password(
    authority: Authority, tmp_path: Path, make_mosquitto: Callable[..., Mosquitto]
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"user-{CANARY}:{CANARY}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    strict = (
        f"require_certificate true\ncafile {authority.certificate}\n"
        f"allow_anonymous false\npassword_file {passwords}"
    )
    broker = make_mosquitto(listener(*authority.issue("server"), strict))
    certificate, key = authority.issue("client")
    broker.start()
    ours = tmp_path / "ours"
    ours.write_text(CANARY)
    ours.chmod(0o600)
    url = broker.url.replace("mqtt://", "mqtts://")
    mqtt = MqttSettings(
        username=f"user-{CANARY}",
        password_file=str(ours),
        ca_file=str(authority.certificate),
        certificate_file=str(certificate),
        key_file=str(key),
    )
    source = open_source(SourceSettings(url=f"{url}/cams/+"), mqtt=mqtt)
    frames = source.frames()
    publisher = PicturePublisher(
        parse_url(url), login(mqtt, "camera", None), tls_context(mqtt), "cams/front", 0.2
    )
    publisher.start()
    picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    publisher.offer(picture, 7, 1.0)
    frame = next(frames)
    assert (frame.camera, frame.sequence, frame.captured_unix_s) == ("front", 7, 1.0)
    assert CANARY not in source.description + repr(vars(source)) + repr(vars(publisher))
    publisher.stop()
    source.close()


def test_a_wrong_password_is_named_without_the_password(
    tmp_path: Path,
    make_mosquitto: Callable[..., Mosquitto],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    passwords = tmp_path / "passwords"
    passwords.write_text("another:user\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    ours = tmp_path / "ours"
    ours.write_text(CANARY)
    ours.chmod(0o600)
    settings = MqttSettings(url=broker.url, username="camera", password_file=str(ours))
    sink = MqttSink(settings, "front", "b00t")
    assert wait_until(lambda: "login refused" in (sink.status().reason or ""))
    reason = sink.status().reason or ""
    assert "user 'camera'" in reason
    time.sleep(3)
    assert sink.counters()["mqtt_connection_faults"] == 1
    assert CANARY not in reason + caplog.text + repr(vars(sink))
    sink.close(0.5)


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("ca_file", None, r"mqtt\.ca_file: .*No such file"),
        ("ca_file", "not a certificate", r"mqtt\.ca_file: .*expected PEM certificates"),
        ("certificate_file", None, r"mqtt\.certificate_file: .*No such file"),
    ],
)
def test_a_bad_certificate_file_is_refused_at_start(
    tmp_path: Path, key: str, content: str | None, words: str
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=words) as refusal:
        MqttSink(MqttSettings(url=f"mqtts://h:{free_port()}", **{key: str(file)}), "front", "b")
    assert "\n" not in str(refusal.value)
