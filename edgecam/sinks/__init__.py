"""Where results go: a name to what opens it. A new sink is one file and one line in OPENERS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edgecam.core.result import Sink
from edgecam.settings.schema import Settings


class OpenSink(Sink, Protocol):
    """A sink that outlives a change of settings that are not its own."""

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``."""
        ...


def _jsonl(settings: Settings, boot_id: str) -> OpenSink | None:
    if settings.output.jsonl is None:
        return None
    from edgecam.sinks.jsonl import JsonLinesSink

    return JsonLinesSink(settings.output.jsonl, settings.name, boot_id)


def _events(settings: Settings, boot_id: str) -> OpenSink | None:
    if settings.output.events_jsonl is None:
        return None
    from edgecam.sinks.jsonl import EventLinesSink

    return EventLinesSink(settings.output.events_jsonl, settings.name, boot_id)


def _window(settings: Settings, boot_id: str) -> OpenSink | None:
    del boot_id
    if not settings.output.show:
        return None
    from edgecam.sinks.window import Window

    return Window(settings.name)


def _mqtt(settings: Settings, boot_id: str) -> OpenSink | None:
    if settings.mqtt.url is None:
        return None
    from edgecam.sinks.mqtt.sink import MqttSink

    sink = MqttSink(settings.mqtt, settings.name, boot_id)
    if settings.homeassistant.enabled:
        sink.resend_on(settings.homeassistant.birth_topic)
    return sink


def _web(settings: Settings, boot_id: str) -> OpenSink | None:
    if settings.web.listen is None:
        return None
    from edgecam.sinks.web.sink import open_page

    return open_page(settings.web, settings.name, boot_id)


# Each returns None where the settings do not ask for it, and imports what it needs only then.
OPENERS: Mapping[str, Callable[[Settings, str], OpenSink | None]] = {
    "events": _events,
    "jsonl": _jsonl,
    "mqtt": _mqtt,
    "window": _window,
    "web": _web,
}
# Opening these empties a file, so that comes when nothing else can be refused any more.
_EMPTIED = ("events", "jsonl")
# What each is made of: while that is the same, a reload keeps the open one.
MADE_OF: Mapping[str, Callable[[Settings], Any]] = {
    "events": lambda settings: (settings.name, settings.output.events_jsonl),
    "jsonl": lambda settings: (settings.name, settings.output.jsonl),
    "mqtt": lambda settings: (settings.name, settings.mqtt, settings.homeassistant),
    "window": lambda settings: (settings.name, settings.output.show),
    "web": lambda settings: (settings.name, settings.web),
}


def check_sinks(settings: Settings) -> None:
    """Refuse at once what would be refused once models and source are open.

    Raises:
        PageError: there can be no such page.
    """
    if settings.web.listen is not None:
        from edgecam.sinks.web.sink import check

        check(settings.web)


def open_sinks(
    settings: Settings, boot_id: str, kept: Mapping[str, OpenSink] | None = None
) -> dict[str, OpenSink]:
    """Open every sink that the settings ask for, by name; none stays open if one fails.

    Those in ``kept`` are open already and go on under the new ``boot_id``.

    Raises:
        SinkError, SettingsError: a sink cannot be opened.
    """
    kept = kept or {}
    opened: dict[str, OpenSink] = {}
    try:
        asked = [name for name in OPENERS if name not in kept]
        for name in sorted(asked, key=_EMPTIED.__contains__):
            sink = OPENERS[name](settings, boot_id)
            if sink is not None:
                opened[name] = sink
    except BaseException:
        for sink in opened.values():
            sink.close()
        raise
    for sink in kept.values():
        sink.restart(boot_id)
    both = {**kept, **opened}
    return {name: both[name] for name in OPENERS if name in both}
