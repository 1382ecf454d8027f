"""A real edgecam with its live page, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from daemons import LOOPED, MODEL, Daemon

TOKEN = "correct-horse-battery-staple"


class LivePage:
    """One daemon and the port of its page on 127.0.0.1."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        daemon.wait_log("live page on http://")
        found = re.search(r"live page on http://\S+:(\d+)/", daemon.log)
        assert found is not None, daemon.log
        self.port = int(found[1])
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and body; header names are written with ``_``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
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
    folder: Path, *arguments: object, listen: str = "127.0.0.1:0", **variables: str
) -> Iterator[LivePage]:
    daemon = Daemon(folder, *MODEL, *LOOPED, "--web", listen, *arguments, **variables)
    try:
        yield LivePage(daemon)
    finally:
        daemon.close()
