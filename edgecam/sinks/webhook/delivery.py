"""One webhook: events wait in order, bounded, and each is tried again until it is taken.

The URL is a secret: what is logged has its scheme, host and port alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time

import aiohttp
from yarl import URL

from edgecam.core.fault_log import FaultLog
from edgecam.core.redaction import address
from edgecam.core.version import __version__
from edgecam.settings.webhook import WebhookSettings

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
MAX_REDIRECTS = 3
# What keeps the request as it is; another method would not bring the event there.
_MOVED = frozenset({301, 302, 307, 308})
# The receiver is there and busy, or not quite there; anything else of 400 and more is for good.
_LATER = frozenset({408, 425, 429})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try; ``why`` is empty where the event was taken."""

    why: str = ""
    is_final: bool = False
    wait_s: float | None = None


class Delivery:
    """Posts the bodies that it is offered to one URL."""

    def __init__(self, settings: WebhookSettings, url: str, counts: Counter[str]) -> None:
        self._settings, self._url = settings, URL(url)
        self._where = f"webhook {settings.name} ({address(url)})"
        self._counts = counts
        self._waiting: deque[bytes] = deque()
        self._is_sending = False
        self._is_new = asyncio.Event()
        self._faults = FaultLog(log)
        self.is_idle = asyncio.Event()
        self.is_idle.set()

    def offer(self, body: bytes) -> None:
        """Send this after those that wait; the oldest goes where there are too many."""
        if len(self._waiting) >= self._settings.max_waiting:
            self._waiting.popleft()
            self._lost("too many events wait")
        self._waiting.append(body)
        self.is_idle.clear()
        self._is_new.set()

    @property
    def waiting(self) -> int:
        """Number of events that were not sent yet."""
        return len(self._waiting) + self._is_sending

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Send what is offered until this is cancelled."""
        while True:
            while self._waiting:
                self._is_sending = True
                await self._deliver(session, self._waiting.popleft())
                self._is_sending = False
            self.is_idle.set()
            self._is_new.clear()
            await self._is_new.wait()

    async def _deliver(self, session: aiohttp.ClientSession, body: bytes) -> None:
        wait_s = FIRST_WAIT_S
        for left in range(self._settings.retries, -1, -1):
            outcome = await self._post(session, body)
            if not outcome.why:
                self._counts["sent"] += 1
                self._faults.recovered(self._where, f"{self._where}: events are taken again")
                return
            if outcome.is_final or not left:
                self._lost(outcome.why)
                return
            self._counts["retries"] += 1
            self._faults.fault(self._where, f"{self._where}: {outcome.why}; trying again")
            await asyncio.sleep(min(LONGEST_WAIT_S, max(wait_s, outcome.wait_s or 0.0)))
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)

    def _lost(self, why: str) -> None:
        self._counts["lost"] += 1
        self._faults.fault(self._where, f"{self._where}: an event was not sent: {why}")

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> Outcome:
        url = self._url
        headers = {
            "Content-Type": self._settings.content_type,
            "User-Agent": f"edgecam/{__version__}",
        }
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                for _ in range(MAX_REDIRECTS + 1):
                    asked = session.post(url, data=body, headers=headers, allow_redirects=False)
                    async with asked as answer:
                        if answer.status not in _MOVED:
                            return _judged(answer)
                        target = self._moved(url, answer.headers.get("Location", ""))
                    if target is None:
                        why = "it redirects to another host, which is not followed"
                        return Outcome(why, is_final=True)
                    url = target
        except TimeoutError:
            return Outcome(f"no answer in {self._settings.timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(_words(error))
        except Exception as error:  # noqa: BLE001 - said and counted; the next events must go
            return Outcome(f"internal error: {type(error).__name__}")
        return Outcome(f"more than {MAX_REDIRECTS} redirects", is_final=True)

    @staticmethod
    def _moved(url: URL, location: str) -> URL | None:
        """Where to post instead: the same host alone, and never from TLS to none."""
        try:
            target = url.join(URL(location))
        except ValueError:
            return None
        is_safe = target.scheme == "https" or target.scheme == url.scheme
        same_port = target.port == url.port or target.scheme != url.scheme
        return target if target.host == url.host and is_safe and same_port and location else None


def _judged(answer: aiohttp.ClientResponse) -> Outcome:
    if answer.status < 400:
        return Outcome()
    why = f"it answers {answer.status}"
    if answer.status < 500 and answer.status not in _LATER:
        return Outcome(f"{why}, as to a wrong address or body", is_final=True)
    return Outcome(why, wait_s=_retry_after_s(answer.headers.get("Retry-After")))


def _retry_after_s(value: str | None) -> float | None:
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return min(LONGEST_WAIT_S, float(value[:9]))
    try:
        return min(LONGEST_WAIT_S, max(0.0, parsedate_to_datetime(value).timestamp() - time()))
    except (ValueError, OverflowError):
        return None


def _words(error: aiohttp.ClientError | OSError) -> str:
    """What went wrong, without what the error repeats of the URL."""
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    os_error = getattr(error, "os_error", error)
    strerror = getattr(os_error, "strerror", None)
    return f"no connection: {strerror or type(error).__name__}"
