"""Webhooks as a sink: events in, a loop on a thread of its own that posts them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from edgecam.core.board import clock_synced
from edgecam.core.errors import SettingsError
from edgecam.core.result import Result
from edgecam.messages.event import event_payload
from edgecam.settings.credentials import read_webhook
from edgecam.settings.schema import Settings
from edgecam.settings.webhook import WebhookSettings
from edgecam.sinks.webhook.body import body_of

try:
    import aiohttp
except ImportError:
    raise SettingsError(
        "[[webhook]] needs aiohttp, which is not installed; run: pip install 'edgecam[web]'"
    ) from None

from edgecam.sinks.webhook.delivery import Delivery

# What waits at the end gets so long.
CLOSE_S = 3.0

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """
    Raises:
        SettingsError: a URL is missing, is none, or may be read by others.
    """
    for hook in settings.webhook:
        _url_of(hook)


def _url_of(hook: WebhookSettings) -> str | None:
    found = read_webhook(hook.name, hook.url_file)
    if found is None:
        return None
    try:
        parts = urlsplit(found.secret)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # What the resolver would stumble over.
        (parts.hostname or "").encode("idna")
    except ValueError:
        is_url = False
    if not is_url or not found.secret.isprintable() or " " in found.secret:
        raise SettingsError(
            f"webhook {hook.name}: {found.path}: expected a URL such as https://HOST/PATH, "
            "found another text; write it alone, or behind the webhook's name"
        )
    return found.secret


def open_sink(settings: Settings, boot_id: str) -> Webhooks:
    """
    Raises:
        SettingsError: as ``check``.
    """
    pairs = [(hook, url) for hook in settings.webhook if (url := _url_of(hook)) is not None]
    title = settings.title or f"Edgecam {settings.name}"
    return Webhooks(pairs, settings.name, title, boot_id)


class Webhooks:
    """Posts the events of results to every webhook that wants them."""

    def __init__(
        self,
        hooks: Sequence[tuple[WebhookSettings, str]],
        name: str,
        title: str,
        boot_id: str,
    ) -> None:
        self._name, self._title, self._boot_id = name, title, boot_id
        self._counts = Counter(dict.fromkeys(("sent", "retries", "lost"), 0))
        self._sequence = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._hooks = [(hook, Delivery(hook, url, self._counts)) for hook, url in hooks]
        self._thread = threading.Thread(target=self._serve, name="webhooks", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        # No proxy and no password of the environment, which may be another user's idea.
        async with aiohttp.ClientSession(
            trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            deliveries = [delivery for _, delivery in self._hooks]
            running = [asyncio.create_task(each.run(session)) for each in deliveries]
            await self._stop.wait()
            idle = [asyncio.create_task(each.is_idle.wait()) for each in deliveries]
            await asyncio.wait(idle, timeout=CLOSE_S)
            for task in (*running, *idle):
                task.cancel()
            await asyncio.gather(*running, *idle, return_exceptions=True)
        left = sum(each.waiting for each in deliveries)
        if left:
            self._counts["lost"] += left
            log.warning("webhooks: %d events were not sent before the end", left)

    def publish(self, result: Result) -> None:
        """Hand on the events of the result; waits for nothing."""
        if result.insight is None:
            return
        for event in result.insight.events:
            number, self._sequence = self._sequence, self._sequence + 1
            payload = event_payload(event, self._name, self._boot_id, number, clock_synced())
            for hook, delivery in self._hooks:
                if not hook.events or event.event_type in hook.events:
                    about = (event, payload, self._name, self._title, self._boot_id)
                    self._loop.call_soon_threadsafe(delivery.offer, body_of(hook, *about))

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``."""
        self._boot_id = boot_id

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {f"webhook_{name}": number for name, number in sorted(self._counts.items())}

    def close(self) -> None:
        """Send what waits, for a moment, and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_S + 2.0)
