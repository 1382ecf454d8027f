"""``POST /api/detect``: off unless listed, bounded in bytes, pixels, rate and origin."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from brokers import free_port
from daemons import Daemon
from pages import TOKEN
from tiny_models import colour_classifier, write

LABELS = ("red", "green", "blue")
READ = "another-token-for-reading"
RATE_HZ = 100.0


def picture(bgr: tuple[int, int, int], suffix: str = ".jpg", side_px: int = 64) -> bytes:
    found, data = cv2.imencode(suffix, np.full((side_px, side_px, 3), bgr, np.uint8))
    assert found
    return bytes(data)


BLUE = picture((255, 0, 0))


class Asked:
    """A daemon of two cameras, with a page that looks at pictures."""

    def __init__(self, folder: Path, controls: str = '"detect"', rate_hz: float = RATE_HZ) -> None:
        self.port = free_port()
        model = write(folder / "colours.tflite", colour_classifier(labels=LABELS))
        cv2.imwrite(str(folder / "still.png"), np.zeros((32, 32, 3), np.uint8))
        tokens = {"token_file": TOKEN, "read_token_file": READ}
        for name, token in tokens.items():
            (folder / name).write_text(token)
            (folder / name).chmod(0o600)
        files = "".join(f'{name} = "{folder / name}"\n' for name in tokens)
        source = f'source = {{url = "{folder}/still.png", loop = true, max_megapixels = 1.0}}'
        (folder / "house.toml").write_text(
            f'[web]\nlisten = "127.0.0.1:{self.port}"\ncontrols = [{controls}]\n{files}'
            f'detect_rate_hz = {rate_hz}\n[[model]]\npath = "{model}"\n'
            f'[[camera]]\nname = "front"\n{source}\n[[camera]]\nname = "hall"\n'
            f"{source.replace('still.png', 'again.png')}\n"
        )
        cv2.imwrite(str(folder / "again.png"), np.zeros((32, 32, 3), np.uint8))
        self.daemon = Daemon(folder, "--config", folder / "house.toml")
        self.daemon.wait_ready()

    def post(
        self, body: bytes, kind: str = "image/jpeg", camera: str = "", **headers: str
    ) -> tuple[int, str]:
        """Status and text of the answer; the token for reading unless headers say otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 60)
        given = {"Authorization": f"Bearer {READ}", "Content-Type": kind, **headers}
        path = f"/api/detect?camera={camera}" if camera else "/api/detect"
        try:
            connection.request("POST", path, body, {k: v for k, v in given.items() if v})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = Asked(tmp_path_factory.mktemp("detect"))
    yield made
    made.daemon.close()


def test_a_picture_is_looked_at_by_the_camera_that_is_named(asked: Asked) -> None:
    for camera in ("front", "hall"):
        for bgr, label in (((0, 0, 255), "red"), ((255, 0, 0), "blue")):
            for suffix, kind in ((".jpg", "image/jpeg"), (".png", "application/octet-stream")):
                status, text = asked.post(picture(bgr, suffix), kind, camera)
                assert status == 200, text
                found = json.loads(text)
                assert found["name"] == camera
                assert found["frame"] == {"width": 64, "height": 64}
                assert found["classes"][0]["label"] == label
    assert asked.post(BLUE, camera="attic")[0] == 404


def test_who_may_ask(asked: Asked) -> None:
    assert asked.post(BLUE, Authorization=f"Bearer {TOKEN}")[0] == 200
    for wrong in ("", "Bearer wrong-wrong-wrong"):
        assert asked.post(BLUE, Authorization=wrong)[0] == 401
    own = f"http://127.0.0.1:{asked.port}"
    assert asked.post(BLUE, Origin=own)[0] == 200
    assert asked.post(BLUE, Origin="http://evil.example")[0] == 403
    # A browser that does not say where it comes from.
    assert asked.post(BLUE, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        assert asked.post(BLUE, kind)[0] == 415


def test_bounds_of_bytes_and_pixels(asked: Asked) -> None:
    # Noise does not become small: several times what an address may send without being let in.
    noise = np.random.default_rng(1).integers(0, 255, (990, 990, 3), np.uint8)
    large = bytes(cv2.imencode(".png", noise)[1])
    assert len(large) > 2_800_000
    for _ in range(3):
        status, text = asked.post(large, "image/png")
        assert status == 200, text
    status, text = asked.post(picture((0, 0, 0), ".png", 1100), "image/png")
    assert status == 413
    assert "1100x1100 is more than 1 million pixels" in text
    status, text = asked.post(b"no picture at all")
    assert status == 400
    assert text.startswith("the picture: ")
    assert asked.post(b"")[0] == 400
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, 60)
    connection.putrequest("POST", "/api/detect")
    for key, value in (("Content-Type", "image/jpeg"), ("Authorization", f"Bearer {READ}")):
        connection.putheader(key, value)
    connection.putheader("Content-Length", "9000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_who_is_not_let_in_sends_little(asked: Asked) -> None:
    large = bytes(3_000_000)
    ends = []
    for _ in range(10):
        with contextlib.suppress(OSError):
            ends.append(asked.post(large, Authorization="")[0])
    assert set(ends) <= {401, 429}
    assert len(ends) < 10


def test_pictures_that_come_faster_than_the_settings_say_wait(tmp_path: Path) -> None:
    seldom = Asked(tmp_path, rate_hz=0.1)
    try:
        assert seldom.post(BLUE)[0] == 200
        status, text = seldom.post(BLUE)
        assert (status, text) == (
            429,
            "one picture each 10 s is looked at; see web.detect_rate_hz\n",
        )
        # Cameras look with the same board.
        assert seldom.post(BLUE, camera="hall")[0] == 429
    finally:
        seldom.daemon.close()


def test_it_is_off_unless_listed(tmp_path: Path) -> None:
    off = Asked(tmp_path, controls='"pause"')
    try:
        status, text = off.post(BLUE)
        assert status == 403
        assert "list detect in web.controls" in text
    finally:
        off.daemon.close()
