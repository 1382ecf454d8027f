"""The section ``[events]``: the settings that each rule declares in its own file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec

from edgecam.core.rules import OF_PLACES, RULES
from edgecam.settings.section import Section, fields_of


def _declared(name: str) -> type[Section]:
    """The settings of a rule; its file is named in the registry, and imports no other settings."""
    rule = importlib.import_module(f"edgecam.analysis.events.{name}").RULE
    section: type[Section] = rule.settings_type
    return section


if TYPE_CHECKING:

    class EventSettings(Section, frozen=True):
        """Which events there are, and how long it takes until they are believed."""

        def __getattr__(self, key: str) -> Any: ...

else:
    EventSettings = msgspec.defstruct(
        "EventSettings",
        [field for name in RULES if name not in OF_PLACES for field in fields_of(_declared(name))],
        bases=(Section,),
        module=__name__,
        namespace={
            "__doc__": "Which events there are, and how long it takes until they are believed."
        },
        frozen=True,
        kw_only=True,
    )
