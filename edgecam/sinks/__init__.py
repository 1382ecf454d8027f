"""Registry of the sinks, where results go: a sink is one file here and one line in ``SINKS``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pkgutil import resolve_name
from typing import Any, Protocol

from edgecam.core.protocols import Sink
from edgecam.settings.load import own_settings
from edgecam.settings.schema import Settings

log = logging.getLogger(__name__)


class OpenSink(Sink, Protocol):
    """A sink that outlives a change of settings that are not its own."""

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``."""
        ...


# Opens a sink of these settings under a ``boot_id``.
Opener = Callable[[Settings, str], OpenSink]


@dataclass(frozen=True, slots=True)
class SinkKind:
    """One kind of sink.

    ``asked_by`` is the setting that asks for it, ``made_of`` are all that it is made of besides
    the camera's name: while those are the same, a reload keeps the open sink. ``opener`` is
    ``MODULE:FUNCTION``, called with the settings and the run's ``boot_id``, and ``check`` a
    function that refuses at once, before models and source are open, what ``opener`` would
    refuse. Neither module is loaded before. ``empties``: opening it empties a file. A plugin's
    opener gets the plugin's own settings too, of ``settings_type``, None where it has none.
    """

    asked_by: str
    opener: str
    made_of: tuple[str, ...] = ()
    check: str | None = None
    empties: bool = False
    settings_type: type[Any] | None = None

    def is_asked(self, settings: Settings) -> bool:
        """Whether the settings ask for such a sink."""
        return attrgetter(self.asked_by)(settings) not in (None, False, ())

    def settings(self, settings: Settings) -> Any:
        """Return what such a sink is made of, to compare."""
        return attrgetter("name", self.asked_by, *self.made_of)(settings)


SINKS: Mapping[str, SinkKind] = {
    "events": SinkKind("output.events_jsonl", "edgecam.sinks.jsonl:open_event_lines", empties=True),
    "jsonl": SinkKind("output.jsonl", "edgecam.sinks.jsonl:open_result_lines", empties=True),
    "mqtt": SinkKind("mqtt.url", "edgecam.sinks.mqtt.sink:open_sink", ("mqtt", "homeassistant")),
    "webhook": SinkKind(
        "webhook",
        "edgecam.sinks.webhook.sink:open_sink",
        ("title",),
        "edgecam.sinks.webhook.sink:check",
    ),
    "window": SinkKind("output.show", "edgecam.sinks.window:open_sink"),
    "web": SinkKind(
        "web.listen", "edgecam.sinks.web.sink:open_sink", ("web",), "edgecam.sinks.web.sink:check"
    ),
}


def kinds_of(settings: Settings) -> Mapping[str, SinkKind]:
    """Return every kind of sink that there is, with those of the listed plugins."""
    if not settings.plugins:
        return SINKS
    from edgecam.core.plugins import listed

    return {
        **SINKS,
        **{n: k for n, k in listed("sinks", settings.plugins).items() if n not in SINKS},
    }


def _open(
    name: str, kind: SinkKind, settings: Settings, boot_id: str, shared: Mapping[str, Opener]
) -> OpenSink | None:
    """Open one; None where a plugin fails, which the log says."""
    if name in shared:
        return shared[name](settings, boot_id)
    if name in SINKS:
        sink: OpenSink = resolve_name(kind.opener)(settings, boot_id)
        return sink
    from edgecam.core.plugins import refusal
    from edgecam.sinks.plugged import PluggedSink

    own = own_settings(name, settings, kind.settings_type)
    try:
        return PluggedSink(name, resolve_name(kind.opener)(settings, boot_id, own))
    except Exception as error:  # noqa: BLE001 - of others' code: any fault
        log.error("%s", refusal(name, "sinks", error))
        return None


def check_sinks(settings: Settings) -> None:
    """Refuse at once what would be refused once models and source are open.

    Raises:
        PageError, SettingsError: there can be no such page or webhook.
    """
    for kind in SINKS.values():
        if kind.check is not None and kind.is_asked(settings):
            resolve_name(kind.check)(settings)


def open_sinks(
    settings: Settings,
    boot_id: str,
    kept: Mapping[str, OpenSink] | None = None,
    shared: Mapping[str, Opener] | None = None,
) -> dict[str, OpenSink]:
    """Open every sink that the settings ask for, by name; none stays open if one fails.

    Those in ``kept`` are open already and go on under the new ``boot_id``. ``shared`` opens, by
    name, a camera's part of what the cameras of a process have in common.

    Raises:
        SinkError, SettingsError: a sink cannot be opened.
    """
    kept, kinds = kept or {}, kinds_of(settings)
    opened: dict[str, OpenSink] = {}
    try:
        asked = [n for n, kind in kinds.items() if n not in kept and kind.is_asked(settings)]
        # What empties a file comes when nothing else can be refused any more.
        for name in sorted(asked, key=lambda name: kinds[name].empties):
            sink = _open(name, kinds[name], settings, boot_id, shared or {})
            if sink is not None:
                opened[name] = sink
    except BaseException:
        for sink in opened.values():
            sink.close()
        raise
    for sink in kept.values():
        sink.restart(boot_id)
    both = {**kept, **opened}
    return {name: both[name] for name in kinds if name in both}
