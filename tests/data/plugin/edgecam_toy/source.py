"""``toy://``: the clip of the settings."""

from edgecam.sources.kinds import SourceKind
from edgecam.sources.video import VideoFile
from edgecam_toy.settings import Settings


def open_clip(opening):
    return VideoFile(opening.own.clip)


source = SourceKind("edgecam_toy.source:open_clip", "toy://", live=False, settings_type=Settings)
