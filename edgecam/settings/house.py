"""The cameras of one process, of which there is one unless the settings have ``[[camera]]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

import msgspec

from edgecam.core.errors import SettingsError
from edgecam.settings.schema import Settings

# The process is called so where neither its file nor its settings name it.
PROCESS = "edgecam"
SECRET = re.compile(r"EDGECAM_CAMERA_([A-Z0-9_]+)_SOURCE_URL")


@dataclass(frozen=True, slots=True)
class House:
    """The cameras of one process.

    ``shared`` has what there is one of, such as the broker, under the name of the process; each of
    ``cameras`` is whole. One camera alone is both.
    """

    shared: Settings
    cameras: tuple[Settings, ...]

    @property
    def has_several(self) -> bool:
        """Whether cameras share this process."""
        return len(self.cameras) > 1


def of_one(settings: Settings) -> House:
    """Return the house of a camera that has its process to itself."""
    return House(settings, (settings,))


def secret_of(name: str) -> str:
    """Return the variable that holds the source's URL of a camera, login included."""
    return f"EDGECAM_CAMERA_{variable_part(name)}_SOURCE_URL"


def variable_part(name: str) -> str:
    """Return a camera's name as variables have it."""
    return name.upper().replace("-", "_")


def is_secret(variable: str) -> bool:
    """Whether an environment variable is one of ``secret_of``."""
    return SECRET.fullmatch(variable) is not None


def with_chosen_models(settings: Settings, origin: str) -> Settings:
    """The settings with the models that ``models`` names alone.

    Raises:
        SettingsError: no ``[[model]]`` defines one of them.
    """
    if not settings.models:
        return settings
    known = {key: model for model in settings.model for key in (_stem(model.path), model.path)}
    unknown = next((name for name in settings.models if name not in known), None)
    if unknown is not None:
        defined = ", ".join(_stem(model.path) for model in settings.model) or "none"
        raise SettingsError(
            f"{origin}: models: expected those that a [[model]] defines ({defined}), "
            f"found {unknown!r:.80}"
        )
    chosen = dict.fromkeys(known[name] for name in settings.models)
    return msgspec.structs.replace(settings, model=tuple(chosen))


def _stem(path: str) -> str:
    return PurePath(path).stem
