"""The zone editor's requests: whether a text will do, and saving and undoing for one camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from edgecam.core.errors import SettingsError

# Of a text, or None to undo the last save; raises SettingsError.
Save = Callable[[bytes | None], None]


def keep_none(text: bytes | None) -> None:
    """Where nothing may be saved.

    Raises:
        SettingsError: always.
    """
    del text
    raise SettingsError("zones: they may not be saved here; list zones in web.controls")


async def check(request: web.Request) -> web.Response:
    """Whether this text would do in a configuration file; nothing is changed."""
    # Most people look at the page and draw nothing.
    from edgecam.settings.saved_places import places_of

    try:
        places_of(await request.read(), "zones")
    except SettingsError as error:
        return web.Response(status=400, text=f"{error}\n")
    return web.Response(status=204)


async def save(request: web.Request, keep: Save) -> web.Response:
    """Save the places of the body, or undo the last save where the path says so."""
    text = None if request.path.endswith("/undo") else await request.read()
    try:
        # A card may take its time to write.
        await asyncio.to_thread(keep, text)
    except SettingsError as error:
        return web.Response(status=400, text=f"{error}\n")
    return web.Response(status=204)
