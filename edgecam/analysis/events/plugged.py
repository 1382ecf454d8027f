"""Rules of plugins, which must not end the run that they only look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgecam.analysis.events.rule import Memory, Rule
from edgecam.analysis.scene import Scene
from edgecam.core.events import Event
from edgecam.core.plugins import listed, own_settings_type, refusal
from edgecam.settings.load import own_settings
from edgecam.settings.schema import Settings

log = logging.getLogger(__name__)


class PluggedRule:
    """Shows a plugin's rule every frame until it fails; then goes on without it.

    What it remembers is kept under the plugin's name.
    """

    def __init__(self, plugin: str, rule: Rule) -> None:
        self.name, self.event_types = rule.name, tuple(rule.event_types)
        self._plugin, self._rule = plugin, rule
        self._failed = False

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        kept = {} if self._failed else self._rule.memories
        return {f"plugin/{self._plugin}/{name}": memory for name, memory in kept.items()}

    def __call__(self, scene: Scene) -> Iterable[Event]:
        """Return the plugin's events in this frame; nothing once it has failed."""
        if self._failed:
            return ()
        try:
            return tuple(self._rule(scene))
        except Exception as error:  # noqa: BLE001 - of others' code: any fault
            self._failed = True
            log.error("%s", refusal(self._plugin, "rules", error))
            return ()


def plugged_rules(settings: Settings, number: Callable[[], int]) -> Iterator[PluggedRule]:
    """Yield the rules of the listed plugins.

    Raises:
        SettingsError: a plugin's own settings will not do.
    """
    for plugin, make in listed("rules", settings.plugins).items():
        own = own_settings(plugin, settings, own_settings_type(make))
        try:
            yield PluggedRule(plugin, make(number, own))
        except Exception as error:  # noqa: BLE001 - of others' code: any fault
            log.error("%s", refusal(plugin, "rules", error))


def plugged_event_types(settings: Settings) -> tuple[str, ...]:
    """Return the types of the events that the listed plugins give."""
    found = listed("rules", settings.plugins).values()
    return tuple(str(each) for rule in found for each in rule.event_types)
