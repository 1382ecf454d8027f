"""How each person bears themselves: the posture that a look shows, by what earlier looks showed.

Where the same person stood last says how tall they are here, so that one who sits behind a table,
or lies with the feet to the camera, is known from one who stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecam.analysis.events.body import Known, Reading, read
from edgecam.analysis.events.rule import Memory
from edgecam.analysis.events.trunk import trunk
from edgecam.core.result import Pose
from edgecam.settings.scene import SceneSettings

# Of one who stands so surely the place of the shoulders is kept.
SURELY = 0.8
# The newest look counts for so much: a skeleton is off by some pixels.
NEWEST = 0.3


@dataclass(slots=True)
class Bearing:
    """Where the shoulders were while a person stood, y in pixels, how tall they were, and what
    posture they were in last; None until they stood."""

    stood_px: float | None = None
    size_px: float | None = None
    posture: str | None = None

    def stands(self, shoulders_px: float, size_px: float) -> None:
        """See them stand."""
        if self.stood_px is None or self.size_px is None:
            self.stood_px, self.size_px = shoulders_px, size_px
            return
        self.stood_px += NEWEST * (shoulders_px - self.stood_px)
        self.size_px += NEWEST * (size_px - self.size_px)


class Bearings:
    """Everybody's, by track."""

    name = "bearing"

    def __init__(self, scene: SceneSettings) -> None:
        self._scene = scene
        self.people: Memory[Bearing] = Memory(Bearing)

    def read(
        self, track: int, pose: Pose, height_px: int, is_turned: bool = False
    ) -> Reading | None:
        """The posture in a look at a picture so high; None where the keypoints do not say.

        ``is_turned``: a look at the turned picture found it.
        """
        ends = trunk(pose)
        if ends is None:
            return None
        person, (shoulders, hips) = self.people[track], ends
        known = Known(
            person.stood_px,
            person.size_px,
            self._scene.pitch_degrees,
            self._scene.height_m,
            (shoulders[1] + hips[1]) / 2.0 / height_px - 0.5,
            person.posture,
        )
        reading = read(pose, known, is_turned)
        if reading is not None:
            person.posture = reading.posture
            if reading.posture == "standing" and reading.likely >= SURELY:
                person.stands(shoulders[1], reading.size_px)
        return reading
