"""Frames in: what a source is called says which file here opens it, see ``kinds.SOURCES``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pkgutil import resolve_name

from edgecam.core.protocols import Source
from edgecam.settings.load import own_settings
from edgecam.settings.schema import MqttSettings, Settings, SourceSettings
from edgecam.sources.kinds import SOURCES, Opening, SourceKind, check, scheme_of


def is_recording(settings: SourceSettings) -> bool:
    """Whether ``open_source`` will open something that is not live, without opening it."""
    return is_file(settings) and not settings.realtime


def is_file(settings: SourceSettings) -> bool:
    """Whether it plays what was recorded, also where it does so in real time as if live."""
    kind = SOURCES.get(scheme_of(settings.url))
    return kind is not None and not kind.live


def serves_several(settings: SourceSettings) -> bool:
    """Whether frames of many cameras come from it, each with its camera's name.

    Raises:
        SettingsError, SourceError: it is a URL of such a kind, and none that can be opened.
    """
    kind = SOURCES.get(scheme_of(settings.url))
    if kind is None or kind.several is None:
        return False
    return bool(resolve_name(kind.several)(settings.url))


def open_source(
    settings: SourceSettings,
    stop: threading.Event | None = None,
    mqtt: MqttSettings | None = None,
    plugged: Settings | None = None,
) -> Source:
    """Open what ``settings.url`` names, turned by ``settings.rotate``, then mirrored.

    Arguments are as in ``Opening``.

    ``plugged`` lists plugins and their settings: the scheme of a plugin's source is its name.

    Raises:
        SourceError: it cannot be opened and need not be waited for.
        SettingsError: a broker's URL, certificate or password file is no use.
    """
    kinds: Mapping[str, SourceKind] = SOURCES
    if plugged is not None and plugged.plugins:
        from edgecam.core.plugins import listed

        kinds = {**listed("sources", plugged.plugins), **SOURCES}
    kind, own = check(settings.url, kinds), None
    if plugged is not None and (name := scheme_of(settings.url)) not in SOURCES:
        own = own_settings(name, plugged, kind.settings_type)
    opening = Opening(settings, stop, mqtt or MqttSettings(), own)
    source: Source = resolve_name(kind.opener)(opening)
    if settings.rotate == 0 and not settings.mirror:
        return source
    # It needs OpenCV, which doctor does without.
    from edgecam.sources.turned import Turn, turned

    is_done = settings.rotate in kind.turns
    return turned(source, Turn(settings.rotate, settings.mirror, is_done))
