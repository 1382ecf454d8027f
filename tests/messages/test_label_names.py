"""Different labels have different topics, entities and zones; what they are called stays."""

from __future__ import annotations

import json

import pytest

from edgecam.core.errors import SettingsError
from edgecam.homeassistant.discovery import chosen_labels, discovery
from edgecam.homeassistant.features import Features
from edgecam.messages.label_names import label_key, slug, topic_part, topic_parts
from edgecam.messages.topics import Topics
from edgecam.settings.schema import HomeAssistantSettings

LABELS = (
    *("person", "traffic light", "кошка", "собака", "стул", "人", "犬", "猫", "größer Hund"),
    *("Ärztin", "γάτα", "いぬ", "ねこ", "قطة", "חתול", "고양이", "मछली", "แมว", "fülle/löffel"),
)


def test_labels_of_ascii_keep_their_topics() -> None:
    for label in ("person", "traffic light", "Class 1", "BMW-X5", "a/b"):
        assert topic_part(label) == slug(label) == label_key(label)
    assert Topics("hall").count("traffic light") == "edgecam/hall/count/traffic_light"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("кошка", "koshka"),
        ("größer Hund", "grosser_hund"),
        ("Ärztin", "arztin"),
        ("γάτα", "gata"),
        ("人", "u4eba"),
        ("いぬ", "inu"),
        ("고양이", "goyangi"),
    ],
)
def test_other_labels_are_written_in_latin_letters(label: str, expected: str) -> None:
    assert topic_part(label) == expected


def test_different_labels_have_different_topics() -> None:
    parts = topic_parts((label, number) for number, label in enumerate(LABELS))
    assert len(set(parts.values())) == len(LABELS)
    assert all(part == slug(part) and part.strip("_") for part in parts.values())


def test_labels_that_are_the_same_in_latin_letters_get_the_numbers_of_their_classes() -> None:
    parts = topic_parts([("Grosser Hund", 3), ("großer Hund", 4), ("gröser Hund", 5)])
    assert set(parts.values()) == {"grosser_hund", "grosser_hund_4", "groser_hund"}
    topics = Topics("hall", parts)
    assert topics.count("großer Hund") == "edgecam/hall/count/grosser_hund_4"
    assert topics.count("Grosser Hund") == "edgecam/hall/count/grosser_hund"


@pytest.mark.parametrize("pair", [("a b", "a_b"), ("!", "?")])
def test_labels_that_share_a_topic_all_the_same_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match="would share the topic count/") as caught:
        topic_parts([(pair[0], 0), (pair[1], 1)])
    assert "\n" not in str(caught.value)
    # Two models may have the same label.
    assert topic_parts([("dog", 1), ("dog", 17)]) == {"dog": "dog"}


def test_home_assistant_shows_a_label_as_it_was_written() -> None:
    home = HomeAssistantSettings()
    labels = chosen_labels(["größer Hund", "traffic light", "кошка", "人"], home)
    parts = topic_parts((label, number) for number, label in enumerate(labels))
    features = Features(labels, zones={"yard": ("кошка",)}, parts=parts)
    found = [json.loads(payload) for payload in discovery("hall", home, features).values()]
    counts = {each["name"]: each for each in found if each["name"].endswith(" count")}
    assert list(counts) == [
        *("größer Hund count", "Traffic light count", "кошка count", "人 count"),
        "Yard кошка count",
    ]
    assert len({each["unique_id"] for each in found}) == len(found)
    assert counts["кошка count"]["state_topic"] == "edgecam/hall/count/koshka"
    assert counts["Yard кошка count"]["state_topic"] == "edgecam/hall/zone/yard/count/koshka"
    assert counts["Yard кошка count"]["unique_id"] == "edgecam_hall_zone_yard_koshka_count"
