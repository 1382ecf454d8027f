"""``toy_seen``: something with the label of the settings is there for the first time."""

from dataclasses import dataclass

from edgecam.analysis.events.rule import Memory, event
from edgecam_toy.settings import Settings


@dataclass
class Seen:
    reported: bool = False


class Bright:
    """Tells of each track once."""

    name = "toy"
    event_types = ("toy_seen",)
    settings_type = Settings

    def __init__(self, number, own):
        self._number, self._label = number, own.label
        self._seen = Memory(Seen)

    @property
    def memories(self):
        return {self.name: self._seen}

    def __call__(self, scene):
        self._seen.keep(scene)
        for subject in scene.subjects:
            seen = self._seen[subject.track]
            if subject.label == self._label and not seen.reported:
                seen.reported = True
                yield event("toy_seen", self._number(), scene, subject, scene.time_s)
