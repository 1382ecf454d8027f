"""Registry of the event rules: a rule is one file of ``analysis/events`` and one line here.

The line stands in the lowest room because every room above asks for it: settings for the names
that a mask may exclude, messages and Home Assistant for the types of events.
"""

from __future__ import annotations

from collections.abc import Mapping

# Asked of every frame in this order: the rule's file in ``analysis/events``, which is its name
# too, and the types of its events.
RULES: Mapping[str, tuple[str, ...]] = {
    "presence": ("appeared", "lost", "left"),
    "zone": ("entered", "exited", "dwelling"),
    "line": ("line_crossed",),
    "hands_up": ("hands_up",),
    "wave": ("wave",),
    "posture": ("sitting", "crouching", "lying"),
    "fall": ("fall", "recovered"),
    "classified": ("classified",),
}

# Those that a table [[NAME]] for each place asks for; the others have keys of [events].
OF_PLACES = frozenset({"zone", "line"})

EVENT_TYPES = tuple(event_type for types in RULES.values() for event_type in types)
