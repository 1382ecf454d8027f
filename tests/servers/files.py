"""A file server that breaks off, changes its mind and refuses, as asked."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FileServer:
    """Serves ``files`` by path, with ranges and ETags, on a free loopback port.

    ``break_off_after``: the next answers end after so many bytes, one entry each. ``statuses``:
    the next answers are these errors. ``says_length``: answers state where they
    end. ``requests``: path and Range header of each request.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.break_off_after: list[int] = []
        self.statuses: list[int] = []
        self.says_length = True
        self.requests: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Keep the tests' output quiet."""

            def do_GET(self) -> None:
                outer.answer(self)

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        content = self.files.get(handler.path)
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        if content is None:
            handler.send_error(404)
            return
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = 0
        if asked is not None and handler.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", tag)
        if self.says_length:
            handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        end = len(content)
        if self.break_off_after:
            end = start + self.break_off_after.pop(0)
        handler.wfile.write(content[start:end])
