"""Where results go: a name to what opens it. A new sink is one file and one line in OPENERS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgecam.settings import Settings
from edgecam.types import Sink


def _jsonl(settings: Settings, boot_id: str) -> Sink | None:
    if settings.output.jsonl is None:
        return None
    from edgecam.sinks.jsonl import JsonLinesSink

    return JsonLinesSink(settings.output.jsonl, settings.name, boot_id)


def _window(settings: Settings, boot_id: str) -> Sink | None:
    del boot_id
    if not settings.output.show:
        return None
    from edgecam.sinks.window import Window

    return Window(settings.name)


def _mqtt(settings: Settings, boot_id: str) -> Sink | None:
    if settings.mqtt.url is None:
        return None
    from edgecam.sinks.mqtt import MqttSink

    return MqttSink(settings.mqtt, settings.name, boot_id)


# Each returns None where the settings do not ask for it, and imports what it needs only then.
OPENERS: Mapping[str, Callable[[Settings, str], Sink | None]] = {
    "jsonl": _jsonl,
    "mqtt": _mqtt,
    "window": _window,
}


def open_sinks(settings: Settings, boot_id: str) -> dict[str, Sink]:
    """Open every sink that the settings ask for, by name; none stays open if one fails.

    Raises:
        SinkError, SettingsError: a sink cannot be opened.
    """
    opened: dict[str, Sink] = {}
    try:
        for name, opener in OPENERS.items():
            sink = opener(settings, boot_id)
            if sink is not None:
                opened[name] = sink
    except BaseException:
        for sink in opened.values():
            sink.close()
        raise
    return opened
