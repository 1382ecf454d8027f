"""A real edgecam with its live page, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from brokers import wait_until
from daemons import LOOPED, MODEL, Daemon
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "correct-horse-battery-staple"
BEARER = f"Bearer {TOKEN}"
FORM = "application/x-www-form-urlencoded"
CORNERS = [[0.3, 0.35], [0.98, 0.35], [0.98, 0.75], [0.55, 0.8]]
SCENE = f"""
[[zone]]
name = "path"
polygon = {CORNERS}
inside = "ankle"

[[mask]]
name = "van"
polygon = [[0.85, 0.1], [1.0, 0.1], [1.0, 0.3]]

[[line]]
name = "door"
start = [0.62, 0.3]
end = [0.95, 0.75]
"""


class LivePage:
    """One daemon and the port of its page on 127.0.0.1."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        line = re.compile(r"live page on http://\S+:(\d+)/")
        # The line may be half written.
        assert wait_until(lambda: line.search(daemon.log), 30), daemon.log
        found = line.search(daemon.log)
        assert found is not None
        self.port = int(found[1])
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        come_from: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and body; header names are written with ``_``."""
        own = (come_from, 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 10, source_address=own)
        try:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            connection.putrequest(method, path, skip_host="Host" in named)
            if body is not None:
                named["Content-Length"] = str(len(body))
            for key, value in named.items():
                connection.putheader(key, value)
            connection.endheaders(None if body is None else body.encode())
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def post(self, path: str, body: str) -> tuple[int, str]:
        """As the page itself does it."""
        status, _, text = self.ask("POST", path, body, Origin=self.url, X_Edgecam="1")
        return status, text

    def control(self, control: str, value: str = "") -> tuple[int, str]:
        return self.post("/control", json.dumps({"control": control, "value": value}))

    def metrics(self) -> dict[str, float]:
        """Names and values of the next report; it comes every two seconds."""

        def read() -> dict[str, float]:
            families = text_string_to_metric_families(self.ask("GET", "/metrics")[2])
            return {sample.name: sample.value for family in families for sample in family.samples}

        assert wait_until(lambda: self.ask("GET", "/metrics")[0] == 200, 10)
        before = read()
        assert wait_until(lambda: read()["edgecam_uptime_s"] > before["edgecam_uptime_s"], 5)
        return read()

    async def follow(
        self, bundles: int, pictures: bool, **headers: str
    ) -> list[dict[str, Any] | bytes]:
        """What a viewer gets until so many bundles have come."""
        got: list[dict[str, Any] | bytes] = []
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{self.url}/stream", origin=self.url) as stream,
        ):
            await stream.send_str("pictures on" if pictures else "pictures off")
            async for message in stream:
                if message.type is aiohttp.WSMsgType.BINARY:
                    got.append(message.data)
                    continue
                got.append(json.loads(message.data))
                if "hello" not in got[-1]:
                    await stream.send_str("next")
                    bundles -= 1
                if bundles == 0:
                    break
        return got


@contextmanager
def live_page(
    folder: Path,
    *arguments: object,
    listen: str = "127.0.0.1:0",
    prefix: Sequence[str] = (),
    **variables: str,
) -> Iterator[LivePage]:
    page = ("--web", listen, *arguments)
    daemon = Daemon(folder, *MODEL, *LOOPED, *page, prefix=prefix, **variables)
    try:
        yield LivePage(daemon)
    finally:
        daemon.close()


@contextmanager
def far_page(folder: Path) -> Iterator[LivePage]:
    """Bound beyond loopback, with a token; no picture leaves it."""
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    given = {
        "EDGECAM_WEB_TOKEN_FILE": str(token),
        "EDGECAM_WEB_PICTURES": "false",
        "EDGECAM_WEB_HOSTS": "camera.example,Door.example:8443,tls.example:443",
    }
    # Both kinds of addresses, where the system has both.
    listen = "[::]:0" if socket.has_dualstack_ipv6() else "0.0.0.0:0"
    # No test asks it for people: a small input costs a tenth.
    with live_page(folder, "--input-size", "129x161", listen=listen, **given) as page:
        yield page


@contextmanager
def near_page(folder: Path, broker_port: int) -> Iterator[LivePage]:
    """Bound to loopback, with zones, a broker and results in a file."""
    (folder / "scene.toml").write_text(SCENE)
    arguments = ("--jsonl", folder / "lines", "--config", folder / "scene.toml")
    given = {
        "EDGECAM_WEB_CONTROLS": "pause,decode.score_threshold,snapshot",
        "EDGECAM_SNAPSHOT_MODE": "skeleton",
        "EDGECAM_SNAPSHOT_WHEN": "asked",
        "EDGECAM_MQTT_URL": f"mqtt://127.0.0.1:{broker_port}",
    }
    with live_page(folder, *arguments, **given) as page:
        yield page
