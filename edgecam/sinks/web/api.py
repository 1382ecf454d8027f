"""What other programs read of the page: pictures, a video stream and JSON; nothing is changed.

``/video.mjpeg`` and ``/snapshot.jpg`` are for Home Assistant's MJPEG camera, go2rtc and VLC;
``/api/openapi.json`` describes the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from edgecam.core.version import __version__
from edgecam.sinks.web import detect
from edgecam.sinks.web.pictures import INTERVAL_S, Pictures
from edgecam.sinks.web.stream import ANSWER_S, MAX_VIEWERS, Hub
from edgecam.sinks.web.viewer_message import Moment

# How often a stream looks whether there is something new.
LOOK_S = 0.05
# A picture that stays the same is sent again, so that proxies do not give the stream up.
REPEAT_S = 5.0
_BOUNDARY = "edgecam-frame"
_PLAIN = ("0", "false", "no")

ROUTES: Mapping[str, str] = {
    "/video.mjpeg": "The camera as a stream of JPEGs; annotated=0 without drawing",
    "/snapshot.jpg": "The newest picture as JPEG; annotated=0 without drawing",
    "/api/result": "The newest result, as on the topic result",
    "/api/events": "The last events, oldest first; since=NUMBER only those after it",
    "/api/state": "Counts by label and by zone, posture, and the last telemetry",
    "/api/openapi.json": "This description",
}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers the ``ROUTES`` from what ``hub`` has.

    ``plain`` and ``annotated`` make its pictures, None where none may leave the board.
    ``is_viewer`` learns of every connection that is to last.
    """

    def __init__(
        self,
        hub: Hub,
        plain: Pictures | None,
        annotated: Pictures | None,
        is_viewer: Callable[[asyncio.BaseTransport | None], None],
    ) -> None:
        self._hub, self._newest, self._is_viewer = hub, hub.newest, is_viewer
        self.handlers: Mapping[str, Handler] = {
            "/video.mjpeg": self._video,
            "/snapshot.jpg": self._snapshot,
            "/api/result": self._result,
            "/api/events": self._events,
            "/api/state": self._state,
            "/api/openapi.json": self._openapi,
        }
        self._plain, self._annotated = plain, annotated
        self._streams = 0

    def close(self) -> None:
        """End the threads that make pictures."""
        if self._annotated is not None:
            self._annotated.close()

    def _pictures(self, request: web.Request) -> Pictures:
        pictures = self._plain if request.query.get("annotated") in _PLAIN else self._annotated
        if pictures is None:
            raise web.HTTPNotFound(reason="no picture leaves this board: web.pictures is false")
        return pictures

    async def _jpeg(self, pictures: Pictures, moment: Moment) -> tuple[int, bytes]:
        """The picture of this moment, or a younger one that is there already; and its number."""
        last = pictures.last
        if last is None or (last[0].number < moment.number and pictures.is_due):
            last = pictures.make(moment)
        shown, making = last
        return shown.number, await asyncio.shield(making)

    async def _snapshot(self, request: web.Request) -> web.Response:
        pictures, moment = self._pictures(request), self._newest()
        if moment is None:
            return web.Response(status=503, text="no picture yet\n")
        _, jpeg = await self._jpeg(pictures, moment)
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _video(self, request: web.Request) -> web.StreamResponse:
        pictures = self._pictures(request)
        if self._streams + self._hub.viewers >= MAX_VIEWERS:
            return web.Response(status=503, text=f"{MAX_VIEWERS} viewers are here already\n")
        response = web.StreamResponse(
            headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"}
        )
        self._streams += 1
        try:
            await response.prepare(request)
            self._is_viewer(request.transport)
            await self._send(response, pictures)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams -= 1
        return response

    async def _send(self, response: web.StreamResponse, pictures: Pictures) -> None:
        sent, sent_s = -1, float("-inf")
        while True:
            moment = self._newest()
            now_s = time.monotonic()
            is_new = moment is not None and moment.number > sent
            if moment is None or not (is_new or now_s - sent_s >= REPEAT_S):
                await asyncio.sleep(LOOK_S)
                continue
            sent, jpeg = await self._jpeg(pictures, moment)
            sent_s = time.monotonic()
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
            head += f"Content-Length: {len(jpeg)}\r\n\r\n"
            async with asyncio.timeout(ANSWER_S):
                await response.write(head.encode() + jpeg + b"\r\n")
            await asyncio.sleep(max(0.0, sent_s + INTERVAL_S - time.monotonic()))

    async def _result(self, request: web.Request) -> web.Response:
        del request
        moment = self._newest()
        if moment is None:
            return web.Response(status=503, text="no result yet\n")
        return _json(moment.write())

    async def _events(self, request: web.Request) -> web.Response:
        since, journal = request.query.get("since"), self._hub.journal
        if since is not None and not (since.isascii() and since.isdecimal() and len(since) < 16):
            return web.Response(status=400, text="since: expected a number\n")
        events = journal.events if since is None else journal.since(min(int(since), journal.number))
        return _json(msgspec.json.encode({"number": journal.number, "events": events}))

    async def _state(self, request: web.Request) -> web.Response:
        del request
        moment, (counts, zones) = self._newest(), self._hub.counts()
        insight = None if moment is None else moment.result.insight
        body = {
            "counts": counts,
            "zone_counts": zones,
            "posture": None if insight is None else insight.posture,
            "telemetry": self._hub.journal.telemetry,
        }
        return _json(msgspec.json.encode(body))

    async def _openapi(self, request: web.Request) -> web.Response:
        del request
        return _json(msgspec.json.encode(openapi()))


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the ``ROUTES``."""
    from edgecam.messages.schema import MESSAGES

    types = [MESSAGES["result"], MESSAGES["telemetry"], MESSAGES["event"]]
    shapes, parts = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    result, telemetry, event = shapes
    numbers = {"type": "object", "additionalProperties": {"type": "integer"}}
    bodies: dict[str, tuple[str, Any]] = {
        "/video.mjpeg": ("multipart/x-mixed-replace", {}),
        "/snapshot.jpg": ("image/jpeg", {}),
        "/api/result": ("application/json", result),
        "/api/events": (
            "application/json",
            _object(number={"type": "integer"}, events={"type": "array", "items": event}),
        ),
        "/api/state": (
            "application/json",
            _object(
                counts=numbers,
                zone_counts={"type": "object", "additionalProperties": numbers},
                posture={"type": ["string", "null"]},
                telemetry={"anyOf": [telemetry, {"type": "null"}]},
            ),
        ),
        "/api/openapi.json": ("application/json", {"type": "object"}),
    }
    schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
    schemes["password"] = {"type": "http", "scheme": "basic"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgecam", "version": __version__},
        "security": [{"bearer": []}, {"password": []}, {}],
        "paths": {
            **{path: {"get": _operation(path, *bodies[path])} for path in ROUTES},
            detect.PATH: {"post": _detection(result)},
        },
        "components": {"schemas": parts, "securitySchemes": schemes},
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _operation(path: str, kind: str, body: Any) -> dict[str, Any]:
    known = {"/video.mjpeg": "annotated", "/snapshot.jpg": "annotated", "/api/events": "since"}
    named = [*filter(None, [known.get(path)]), *(["camera"] if path != "/api/openapi.json" else [])]
    parameters = [_parameter(name) for name in named]
    answer = {"description": ROUTES[path], "content": {kind: {"schema": body}}}
    return {"summary": ROUTES[path], "parameters": parameters, "responses": {"200": answer}}


def _detection(result: Any) -> dict[str, Any]:
    """The operation that takes a picture."""
    picture = {"schema": {"type": "string", "format": "binary"}}
    refusals = {
        "400": "The body is no picture that can be decoded",
        "401": "The token is missing or wrong",
        "403": "web.controls does not list detect, or the request comes from another site",
        "411": "The request does not say how long the picture is",
        "413": f"The picture has more than {detect.MAX_BYTES} bytes, or too many pixels",
        "415": "The body is not sent as a picture",
        "429": "Pictures come faster than web.detect_rate_hz; Retry-After says when",
        "503": "No model works",
    }
    found = {
        "description": "What the models see in the picture, as on the topic result",
        "content": {"application/json": {"schema": result}},
    }
    return {
        "summary": "What is in a picture: JPEG, PNG, WebP or the like as the body",
        "parameters": [_parameter("camera")],
        "requestBody": {"required": True, "content": {"image/*": picture}},
        "responses": {"200": found, **{key: {"description": why} for key, why in refusals.items()}},
    }


def _parameter(name: str) -> dict[str, Any]:
    kind = "string" if name == "camera" else "integer"
    return {"name": name, "in": "query", "required": False, "schema": {"type": kind}}


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
