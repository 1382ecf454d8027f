"""Plugins: decoders, rules, sources and sinks from other packages, by Python entry points.

A package offers them in the groups ``edgecam.decoders``, ``.rules``, ``.sources`` and ``.sinks``.
Only those that the setting ``plugins`` lists are loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

from edgecam.core.printable import printable

Kind = Literal["decoders", "rules", "sources", "sinks"]
# What an object of each kind has; the registries of these kinds say what it means.
NEEDS: Mapping[Kind, tuple[str, ...]] = {
    "decoders": ("LAYOUT", "recognise"),
    "rules": ("name", "event_types", "memories", "__call__"),
    "sources": ("opener", "live", "check", "holds_login"),
    "sinks": ("opener", "is_asked", "settings"),
}

log = logging.getLogger(__name__)


def listed(kind: Kind, names: Iterable[str]) -> dict[str, Any]:
    """Load what the plugins ``names`` offer of a kind, by plugin.

    One that cannot be loaded is left out; the log says so once.
    """
    found = {name: _offered(name).get(kind) for name in names}
    return {name: plugin for name, plugin in found.items() if plugin is not None}


def settings_types(names: Iterable[str]) -> dict[str, Any]:
    """Return the type of each plugin's own settings, by plugin; None where it has none."""
    return {
        name: next(
            (own for part in _offered(name).values() if (own := own_settings_type(part))), None
        )
        for name in names
    }


def own_settings_type(plugin: Any) -> Any:
    """Return the ``msgspec.Struct`` of a plugin's own settings, None where it has none."""
    return getattr(plugin, "settings_type", None)


@cache
def _offered(name: str) -> Mapping[Kind, Any]:
    from importlib.metadata import entry_points

    points = {kind: entry_points(group=f"edgecam.{kind}") for kind in NEEDS}
    if not any(name in offered.names for offered in points.values()):
        installed = sorted({n for offered in points.values() for n in offered.names})
        log.error(
            "plugins: expected the name of an installed plugin, found %r; installed: %s",
            name,
            ", ".join(installed) or "none",
        )
    found: dict[Kind, Any] = {}
    for kind, offered in points.items():
        for point in offered.select(name=name):
            try:
                plugin = point.load()
                missing = [part for part in NEEDS[kind] if not hasattr(plugin, part)]
                if missing:
                    raise AttributeError(f"it has no {', '.join(missing)}")
            except (Exception, SystemExit) as error:  # noqa: BLE001 - of others' code: any fault
                log.error("%s", refusal(name, kind, error))
            else:
                found[kind] = plugin
    return found


def refusal(name: str, kind: Kind, error: BaseException) -> str:
    """Return one line about a plugin that failed."""
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return printable(
        f"plugin {name}: edgecam goes on without its {kind} ({what:.300}); "
        "update the package, or drop it from plugins",
        limit=500,
    )
