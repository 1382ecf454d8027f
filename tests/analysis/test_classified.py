"""What a classifier says of the picture: a state that lasts, and an event when it changes."""

from __future__ import annotations

import json

import numpy as np

from edgecam.analysis.analyzer import Analysis
from edgecam.core.frame import Frame
from edgecam.core.result import Classification, Decoded, Result
from edgecam.homeassistant.discovery import discovery
from edgecam.homeassistant.features import Features
from edgecam.settings.schema import HomeAssistantSettings, Settings

PICTURE = np.zeros((48, 64, 3), np.uint8)


def looked(analysis: Analysis, labels: list[str]) -> list[Result]:
    """The results of frames 0.1 s apart, each with its surest label."""
    found = []
    for number, label in enumerate(labels):
        frame = Frame(PICTURE, number, number / 10, 1e9 + number / 10, number / 10)
        part = Decoded(classes=(Classification(label, 1, 0.9), Classification("other", 2, 0.1)))
        found.append(analysis(Result(frame, {"model": part})))
    return found


def test_a_label_counts_once_it_has_lasted_and_another_one_is_an_event() -> None:
    settings = Settings()
    labels = ["sofa"] * 12 + ["dog"] * 3 + ["sofa"] * 5 + ["dog"] * 15
    results = looked(Analysis(settings, finds_poses=False), labels)
    states = [result.insight.label for result in results if result.insight is not None]
    assert states == [None] * 10 + ["sofa"] * 20 + ["dog"] * 5
    events = [event for result in results if result.insight for event in result.insight.events]
    assert [(e.event_type, e.label, e.attributes, e.track) for e in events] == [
        ("classified", "dog", {"before": "sofa"}, 0)
    ]
    assert (events[0].started_s, events[0].time_s) == (2.0, 3.0)


def test_home_assistant_gets_the_label_and_a_sensor_for_each_that_is_asked_for() -> None:
    features = Features(classifies=True, classes=("Sofa", "größer Hund"), asked=("größer hund",))
    messages = discovery("hall", HomeAssistantSettings(), features)
    found = {topic.split("/")[3]: json.loads(payload) for topic, payload in messages.items()}
    sensor = found["classification"]
    assert sensor["state_topic"] == "edgecam/hall/classification"
    assert (sensor["device_class"], sensor["options"]) == ("enum", ["Sofa", "größer Hund"])
    assert "label_sofa" not in found
    asked = found["label_grosser_hund"]
    assert asked["name"] == "größer Hund"
    assert asked["value_template"] == """{{ 'ON' if value == "größer Hund" else 'OFF' }}"""
