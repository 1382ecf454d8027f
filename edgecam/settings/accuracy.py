"""What ``accuracy`` stands for: the models that look where none is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from edgecam.settings.schema import ModelSettings, Settings


@dataclass(frozen=True, slots=True)
class Level:
    """``models`` find people, ``refine`` looks at them once more; None: nothing does.

    ``mirrored``: as ``refine_mirrored`` of the settings.
    """

    models: tuple[ModelSettings, ...]
    refine: str | None = None
    mirrored: bool = False


_POSENET = ModelSettings(path="posenet")
LEVELS: Mapping[str, Level] = {
    "fast": Level((_POSENET,)),
    "balanced": Level((_POSENET,), "thunder"),
    # People whom one finder misses the other may see; its boxes are not published.
    "best": Level((_POSENET, ModelSettings(path="nanodet", publish=False)), "thunder", True),
}


def chosen(settings: Settings) -> Settings:
    """The settings with the models of their accuracy, where they name none."""
    if settings.model:
        return settings
    level = LEVELS[settings.accuracy]
    return replace(
        settings,
        model=level.models,
        refine=settings.refine or level.refine,
        refine_mirrored=settings.refine_mirrored or level.mirrored,
    )
