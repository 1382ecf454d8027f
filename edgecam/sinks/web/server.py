"""The live page's routes, each behind the same guard, and the files that it consists of.

Nothing of a request names a file: the pages are read once, at start, into a fixed table.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import http_exceptions, web

from edgecam.core.errors import EdgecamError
from edgecam.core.fault_log import FaultLog
from edgecam.sinks.web import detect, zones
from edgecam.sinks.web.api import ROUTES, Api
from edgecam.sinks.web.listen_address import BACKLOG
from edgecam.sinks.web.login_page import LoginPage
from edgecam.sinks.web.pictures import Pictures
from edgecam.sinks.web.rate_limits import PICTURE_BURST_BYTES, Connections, Guesses
from edgecam.sinks.web.security import CONTROL_HEADER, HEADERS, POLICY, Guard, basic, bearer
from edgecam.sinks.web.stream import HEARTBEAT_S, MAX_MESSAGE_BYTES, MAX_VIEWERS, Hub

# A hundred corners in every one of a dozen zones.
MAX_BODY_BYTES = 32_768
# Less than limits.DEADLINE_S: who asks now and then is let go, not cut off.
KEEPALIVE_S = 5.0
COOKIE_S = 30 * 86400

_PAGE = Path(__file__).parent / "page"
_FILES: Mapping[str, tuple[str, str]] = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/ask.js": ("ask.js", "text/javascript"),
    "/events.js": ("events.js", "text/javascript"),
    "/labels.js": ("labels.js", "text/javascript"),
    "/picture.js": ("picture.js", "text/javascript"),
    "/plots.js": ("plots.js", "text/javascript"),
    "/zones.js": ("zones.js", "text/javascript"),
    "/cameras.js": ("cameras.js", "text/javascript"),
    "/grid": ("grid.html", "text/html"),
    "/grid.js": ("grid.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# What is at / where there are several cameras.
GRID = "/grid"
_READ = frozenset({*ROUTES, detect.PATH})
_OPEN = frozenset({"/healthz"})

log = logging.getLogger(__name__)
# aiohttp answers what is no HTTP itself, in plain text and past every hook of its own, so without
# HEADERS; and it would log a traceback each time.
_HTTP_LOG = logging.getLogger(f"{__name__}.http")
_HTTP_LOG.setLevel(logging.CRITICAL + 1)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page asks for."""

    control: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class _Camera:
    """What is served of one camera."""

    hub: Hub
    control: Callable[[str, str], None]
    api: Api
    save: zones.Save
    eye: Callable[[], detect.Eye | None]

    def close(self) -> None:
        self.hub.close()
        self.api.close()


class Server:
    """Serves cameras on an open socket: of several each request names one, ``?camera=NAME``."""

    def __init__(self, guard: Guard, detects: detect.Detect | None = None) -> None:
        """``detects`` takes the pictures that others send, None where none are taken."""
        self._guard, self._detects = guard, detects
        self._cameras: dict[str, _Camera] = {}
        self._connections, self._guesses = Connections(), Guesses()
        if detects is not None:
            # More may come before it is known whose it is.
            self._connections.allowances.burst_bytes = PICTURE_BURST_BYTES
        self._login = LoginPage((_PAGE / "login.html").read_text("utf-8"))
        self._files = {
            route: ((_PAGE / name).read_bytes(), kind) for route, (name, kind) in _FILES.items()
        }
        self._faults = FaultLog(log)
        self.refused = 0

    def add(
        self,
        name: str,
        hub: Hub,
        control: Callable[[str, str], None],
        save: zones.Save = zones.keep_none,
        eye: Callable[[], detect.Eye | None] = lambda: None,
        pictures: tuple[Pictures | None, Pictures | None] = (None, None),
    ) -> None:
        """Serve one more camera; ``control`` carries out a command, ``save`` keeps places.

        ``eye`` looks at pictures that others send, None before there are models.
        ``pictures`` makes those of ``/snapshot.jpg`` and ``/video.mjpeg``, plain and annotated.
        """
        api = Api(hub, *pictures, self._connections.is_viewer)
        self._cameras = {**self._cameras, name: _Camera(hub, control, api, save, eye)}

    def remove(self, name: str) -> None:
        """Serve a camera no longer; on the server's thread."""
        gone = self._cameras[name]
        self._cameras = {key: each for key, each in self._cameras.items() if each is not gone}
        gone.close()

    def _of(self, request: web.Request) -> _Camera:
        """The camera that a request names, the first where it names none.

        Raises:
            HTTPNotFound: there is none of that name.
        """
        cameras = self._cameras
        name = request.query.get("camera") or next(iter(cameras), "")
        if name not in cameras:
            raise web.HTTPNotFound(reason="no such camera is here")
        return cameras[name]

    @property
    def evicted(self) -> int:
        """Number of connections that were cut."""
        return self._connections.evicted + sum(each.hub.evicted for each in self._cameras.values())

    def application(self) -> web.Application:
        """Return the web application with its routes and checks."""
        app = web.Application(middlewares=[self._checked], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(self._protect)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/control", self._command)
        app.router.add_post("/zones", self._zones)
        app.router.add_post("/zones/save", self._zones)
        app.router.add_post("/zones/undo", self._zones)
        app.router.add_post(detect.PATH, self._detect)
        app.router.add_post("/login", self._log_in)
        app.router.add_get("/login", self._to_page)
        app.router.add_get("/cameras.json", self._list)
        for route in ROUTES:
            app.router.add_get(route, self._read)
        for route in self._files:
            app.router.add_get(route, self._file)
        return app

    async def run(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set."""
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            logger=_HTTP_LOG,
            handle_signals=False,
            keepalive_timeout=KEEPALIVE_S,
            # A compressed body is refused; aiohttp would unpack it before anybody is asked.
            auto_decompress=False,
        )
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        # asyncio takes as many connections as its backlog says before any of them can be cut.
        server = await loop.create_server(
            self._connections.wrap(runner.server), sock=listener, backlog=self._connections.at_once
        )
        listener.listen(BACKLOG)
        sweeping = asyncio.create_task(self._connections.sweep())
        try:
            await stop.wait()
        finally:
            sweeping.cancel()
            server.close()
            for camera in self._cameras.values():
                camera.close()
            if self._detects is not None:
                self._detects.close()
            self._connections.close()
            await runner.cleanup()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Say in one line what asyncio would print a traceback of, such as too few descriptors."""
        del loop
        why = context.get("exception") or "no exception"
        self._faults.fault("loop", f"live page: {context.get('message')}: {why!r:.200}")

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._connections.asked(request.transport)
        try:
            response = await self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.reason}\n")
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError, UnicodeError):
            response = self._refuse(400, "the request is malformed")
        except Exception as error:  # noqa: BLE001 - logged; no request may print a traceback
            self._faults.fault("request", f"live page: a request failed: {error!r:.200}")
            response = self._refuse(500, "this request failed; see the log")
        return response

    @staticmethod
    async def _protect(request: web.Request, response: web.StreamResponse) -> None:
        """Of every answer, also of those that come before our own checks."""
        del request
        own = {POLICY: response.headers[POLICY]} if POLICY in response.headers else {}
        response.headers.update({**HEADERS, **own})

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """Why this request goes no further, for every route alike; None if it may."""
        transport = request.transport
        local = transport.get_extra_info("sockname") if transport is not None else None
        host = request.headers.get("Host")
        if host is None or not self._guard.knows_host(host, local[0] if local else ""):
            return self._refuse(421, "this is not the host that you asked for; see web.hosts")
        origin = request.headers.get("Origin")
        if origin is not None and not self._guard.is_own_origin(origin, host):
            return self._refuse(403, "not from another site")
        if "Content-Encoding" in request.headers:
            return self._refuse(415, "a compressed body is not taken; send it as it is")
        changes = request.method not in ("GET", "HEAD") or request.path == "/stream"
        if changes and origin is None and not _is_program(request):
            return self._refuse(403, "Origin is missing")
        if request.path in _OPEN or (request.path == "/login" and request.method == "POST"):
            return None
        if self._guard.is_session(request.cookies.get(self._guard.cookie)):
            return None
        authorization = request.headers.get("Authorization")
        token, is_read = bearer(authorization), request.path in _READ
        if is_read:
            # What plays a stream knows a user and a password.
            token = token or basic(authorization)
        if token:
            return await self._guess(request, token, is_read)
        if request.path in ("/", "/login") and request.method == "GET":
            self.refused += 1
            return self._login.answer("")
        refusal = self._refuse(401, "the token is missing or wrong")
        if is_read:
            refusal.headers["WWW-Authenticate"] = 'Basic realm="edgecam"'
        return refusal

    async def _guess(
        self, request: web.Request, token: str, is_read: bool = False
    ) -> web.Response | None:
        """Why this token opens nothing; None if it is the right one."""
        address = request.remote or ""
        if self._guesses.are_too_many(address):
            return self._refuse(429, "too many wrong tokens; wait a second")
        if self._guard.is_token(token) or (is_read and self._guard.is_read_token(token)):
            return None
        await self._guesses.wrong(address)
        return self._refuse(401, "the token is missing or wrong")

    def _refuse(self, status: int, why: str) -> web.Response:
        self.refused += 1
        return web.Response(status=status, text=f"{why}\n")

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok\n")

    async def _read(self, request: web.Request) -> web.StreamResponse:
        return await self._of(request).api.handlers[request.path](request)

    async def _list(self, request: web.Request) -> web.Response:
        """The cameras, for the grid."""
        del request
        return web.json_response(list(self._cameras))

    async def _file(self, request: web.Request) -> web.Response:
        path = request.path
        if path == "/" and len(self._cameras) > 1 and "camera" not in request.query:
            path = GRID
        body, kind = self._files[path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _log_in(self, request: web.Request) -> web.Response:
        # Not request.post(): no parser of multipart or charsets runs of multipart or charsets.
        if request.content_type != "application/x-www-form-urlencoded":
            return self._refuse(415, "expected application/x-www-form-urlencoded")
        form = parse_qs((await request.read()).decode("ascii", "replace"))
        token, session = form.get("token", [""])[0].strip(), self._guard.session
        if not token or session is None:
            return self._refuse(401, "the token is missing or wrong")
        refusal = await self._guess(request, token)
        if refusal is not None:
            return self._login.answer(refusal.text or "", refusal.status)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._guard.cookie,
            session,
            max_age=COOKIE_S,
            httponly=True,
            samesite="Strict",
            # Behind a proxy that speaks TLS.
            secure=request.headers["Origin"].startswith("https:"),
        )
        return response

    async def _to_page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=303, headers={"Location": "/"})

    async def _command(self, request: web.Request) -> web.Response:
        if request.headers.get(CONTROL_HEADER) != "1":
            return self._refuse(403, f"{CONTROL_HEADER} is missing")
        try:
            command = msgspec.json.decode(await request.read(), type=Command)
            self._of(request).control(command.control, command.value)
        except (msgspec.DecodeError, EdgecamError) as error:
            return self._refuse(400, str(error))
        return web.Response(status=204)

    async def _zones(self, request: web.Request) -> web.Response:
        if request.headers.get(CONTROL_HEADER) != "1":
            return self._refuse(403, f"{CONTROL_HEADER} is missing")
        if request.path == "/zones":
            return await zones.check(request)
        return await zones.save(request, self._of(request).save)

    async def _detect(self, request: web.Request) -> web.Response:
        eye = self._of(request).eye()
        if self._detects is None or eye is None:
            return self._refuse(403, "no pictures are looked at here; list detect in web.controls")
        return await self._detects.answer(request, eye, self._connections)

    async def _metrics(self, request: web.Request) -> web.Response:
        hubs = [each.hub for each in self._cameras.values()]
        reported = [(hub, hub.journal.telemetry) for hub in hubs]
        known = [(hub, telemetry) for hub, telemetry in reported if telemetry is not None]
        if not known:
            return web.Response(status=503, text="no report yet\n")
        try:
            from edgecam.sinks.web.metrics import Seen, exposition
        except ImportError:
            why = "/metrics needs prometheus-client; run: pip install 'edgecam[web]'"
            return web.Response(status=501, text=f"{why}\n")
        cameras = [
            (telemetry, Seen(*hub.counts(), hub.journal.by_type)) for hub, telemetry in known
        ]
        body, kind = exposition(cameras, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        hub = self._of(request).hub
        if sum(each.hub.viewers for each in self._cameras.values()) >= MAX_VIEWERS:
            return self._refuse(503, f"{MAX_VIEWERS} viewers are here already")
        stream = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False, timeout=1.0
        )
        # Refused here if it is no WebSocket's handshake.
        await stream.prepare(request)
        transport = request.transport
        self._connections.is_viewer(transport)
        try:
            await hub.serve(stream)
        finally:
            # Not a goodbye that a stalled viewer would never read.
            if transport is not None:
                transport.abort()
        return stream


def _is_program(request: web.Request) -> bool:
    """Whether it is no browser that sends a picture: those say where a request comes from."""
    return request.path == detect.PATH and "Sec-Fetch-Site" not in request.headers
