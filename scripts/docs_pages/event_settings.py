"""The module ``settings/events.py``: the keys of [events], copied from the files of the rules."""

from __future__ import annotations

import importlib
import inspect
import re

from edgecam.core.rules import OF_PLACES, RULES
from edgecam.settings import section

HEAD = '''"""The section ``[events]``: the settings that each rule declares in its own file.

Written by ``scripts/make-reference`` from ``analysis/events``: declare a key there, not here. It
is a copy because settings are read by commands that load no rule, and without NumPy.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgecam.settings.section import {names}


class EventSettings(Section, frozen=True):
    """Which events there are, and how long it takes until they are believed."""

'''


def event_settings() -> str:
    """Return the text of the module."""
    fields = ""
    for name in RULES:
        if name not in OF_PLACES:
            rule = importlib.import_module(f"edgecam.analysis.events.{name}").RULE
            body = inspect.getsource(rule.settings_type).partition('"""\n')[2]
            fields += body.strip("\n") + "\n"
    words = set(re.findall(r"[A-Z]\w+", fields)) & vars(section).keys()
    return (
        HEAD.format(names=", ".join(sorted({"Section", *words} - {"Annotated", "Meta"}))) + fields
    )
