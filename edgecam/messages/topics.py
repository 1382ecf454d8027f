"""Topics: where each message of a camera is published, with what quality and whether retained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgecam.messages.label_names import label_key, slug, topic_part


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of the camera called ``name`` (a slug).

    Each docstring's first line says what is on the topic, its second with which QoS and whether
    the broker retains it: docs/messages.md is made of them. ``parts`` are those of the labels of a
    run, by their keys, as ``label_names.topic_parts`` returns them.
    """

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Prefix of every topic of this camera."""
        return f"edgecam/{self.name}"

    @property
    def availability(self) -> str:
        """`online`, `offline` (also the will)

        1, retained
        """
        return f"{self.base}/availability"

    @property
    def claim(self) -> str:
        """a question and its answer when an instance connects: one name, one instance

        1, never retained
        """
        return f"{self.base}/claim"

    @property
    def source(self) -> str:
        """`online`, `offline`: whether the camera delivers

        1, retained
        """
        return f"{self.base}/source"

    @property
    def result(self) -> str:
        """JSON, [one for each frame](#result)

        0
        """
        return f"{self.base}/result"

    @property
    def event(self) -> str:
        """JSON, [one for each event](#event), by [these rules](events.md)

        1, never retained
        """
        return f"{self.base}/event"

    def label(self, label: str) -> str:
        """A label as part of a topic or of an entity's name; ``+`` stands for all in a filter."""
        if label == "+":
            return label
        return self.parts.get(label_key(label)) or topic_part(label)

    def count(self, label: str) -> str:
        """number of tracks, on change; a pose counts as `person`

        1, retained
        """
        return f"{self.base}/count/{self.label(label)}"

    def zone_count(self, zone: str, label: str) -> str:
        """number of tracks in the zone, on change

        1, retained
        """
        return f"{self.base}/zone/{zone}/count/{self.label(label)}"

    @property
    def posture(self) -> str:
        """gravest of all people: `none`, `unknown`, `standing`, `sitting`, `lying`, `fallen`

        1, retained
        """
        return f"{self.base}/posture"

    @property
    def classification(self) -> str:
        """a classifier's label for the picture, once it has lasted

        1, retained
        """
        return f"{self.base}/classification"

    @property
    def snapshot(self) -> str:
        """JPEG, off unless `[snapshot] mode` is set

        0, or 1 and retained
        """
        return f"{self.base}/snapshot"

    @property
    def frame(self) -> str:
        """JPEG of a [thin camera](many-cameras.md), from `edgecam frames`

        1, never retained
        """
        return f"{self.base}/frame"

    @property
    def frame_availability(self) -> str:
        """`online`, `offline` (also the will): whether `edgecam frames` is connected

        1, retained
        """
        return f"{self.frame}/availability"

    @property
    def telemetry(self) -> str:
        """JSON, [what edgecam says about itself](#telemetry), every 10 s and as the source changes

        1, retained
        """
        return f"{self.base}/telemetry"

    def state(self, setting: str) -> str:
        """a setting's value

        1, retained
        """
        return f"{self.base}/state/{slug(setting)}"

    def set(self, setting: str) -> str:
        """a setting's new value, where `[remote]` allows it (`+` for a filter)

        received
        """
        return f"{self.base}/set/{_part(setting)}"


def _part(text: str) -> str:
    """``text`` as a topic part, or as it is where it stands for all of them in a filter."""
    return text if text == "+" else slug(text)
