"""How a camera is reached and trusted: its own certificate, TCP or UDP."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.errors import SettingsError, SourceError
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.ffmpeg import TRANSPORTS, FfmpegEndpoint
from edgecam.sources.url import parse

PICTURE = cv2.imencode(".jpg", np.full((16, 16, 3), 128, np.uint8))[1].tobytes()


class Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A camera's own, for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=camera", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "c.pem", folder / "k.pem"


@pytest.fixture(scope="module")
def camera(certificate: tuple[Path, Path]) -> str:
    server = HTTPServer(("127.0.0.1", 0), Camera)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://localhost:{server.server_port}/snapshot"


def first(**settings: object) -> tuple[int, int]:
    source = open_source(SourceSettings(open_timeout_s=20.0, read_timeout_s=20.0, **settings))
    try:
        frame = next(iter(source.frames()))
    finally:
        source.close()
    return frame.width_px, frame.height_px


def test_a_camera_with_its_own_certificate_is_refused_with_the_setting(camera: str) -> None:
    with pytest.raises(SourceError) as caught:
        first(url=camera)
    assert caught.value.kind == "untrusted"
    assert str(caught.value).endswith(
        "self-signed certificate; name its certificate, or its CA's, in source.tls_ca_file, or "
        "source.tls_verify = false"
    )
    assert "ping" not in str(caught.value)


def test_a_camera_with_its_own_certificate_is_trusted_where_it_is_named(
    camera: str, certificate: tuple[Path, Path]
) -> None:
    assert first(url=camera, tls_ca_file=str(certificate[0])) == (16, 16)
    assert first(url=camera, tls_verify=False) == (16, 16)


def test_another_name_than_the_certificates_is_named(
    camera: str, certificate: tuple[Path, Path]
) -> None:
    elsewhere = camera.replace("localhost", "127.0.0.1")
    with pytest.raises(
        SourceError, match=r"use in source\.url the name that is in its certificate"
    ):
        first(url=elsewhere, tls_ca_file=str(certificate[0]))


def test_a_ca_file_that_is_none_is_one_line(camera: str, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    for name in ("none.pem", "absent.pem"):
        with pytest.raises(SettingsError, match=r"source\.tls_ca_file: expected a file of PEM"):
            first(url=camera, tls_ca_file=str(tmp_path / name))


@pytest.mark.parametrize("transport", ["auto", "tcp", "udp"])
def test_ffmpeg_is_asked_for_the_transport_that_is_set(transport: str) -> None:
    settings = SourceSettings(url="rtsp://127.0.0.1/a", transport=transport)
    endpoint = FfmpegEndpoint(parse(settings.url), settings)
    assert TRANSPORTS[transport] in endpoint.options
    assert TRANSPORTS["auto"] == "rtsp_flags;prefer_tcp"
