"""The page that asks for the token."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from aiohttp import web

from edgecam.sinks.web.security import HEADERS, POLICY


class LoginPage:
    """Asks for the token; its style stands in it, for no other route answers without a token."""

    def __init__(self, text: str) -> None:
        self._text = text
        style = text.partition("<style>")[2].partition("</style>")[0]
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = HEADERS[POLICY]
        self._policy = policy.replace("style-src 'self'", f"style-src 'sha256-{digest}'")

    def answer(self, why: str, status: int = 401) -> web.Response:
        """The page; ``why`` says, in words of our own, what was wrong with the last token."""
        return web.Response(
            status=status,
            text=self._text.replace('role="alert">', f'role="alert">{why.strip()}'),
            content_type="text/html",
            headers={POLICY: self._policy},
        )
