"""MQTT discovery: the messages by which Home Assistant shows a camera without any configuration.

One retained message per entity, ``<prefix>/<component>/<node>/<object>/config``: the form that
2024.3 and today's releases take alike (the device-based one came with 2024.11). ``object_id``
names the entity up to 2026.3, ``default_entity_id`` from 2025.10 on; each ignores the other.
2024.3 rejects an entity with anything unknown inside ``device`` or ``origin``.
Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from edgecam.core.version import __version__
from edgecam.homeassistant.features import Entity, Features
from edgecam.messages.label_names import label_key, slug
from edgecam.messages.topics import Topics
from edgecam.settings.schema import HomeAssistantSettings

# Of a detector with more labels than this only the everyday ones become entities.
MAX_LABELS = 20
# A list of a thousand options would be 20 kB in every browser.
MAX_OPTIONS = 250
EVERYDAY_LABELS = (
    *("person", "bicycle", "car", "motorcycle", "bus", "truck"),
    *("bird", "cat", "dog"),
)

DIAGNOSTIC = {"entity_category": "diagnostic"}
# Each report changes it, so its history would be 8,640 rows a day.
RESTLESS = {**DIAGNOSTIC, "enabled_by_default": False}
MEASUREMENT = {"state_class": "measurement"}
_NOT_ENTITY_ID = re.compile(r"[^a-z0-9]+")
_encode = msgspec.json.Encoder(order="deterministic").encode


def chosen_labels(known: Iterable[str], settings: HomeAssistantSettings) -> tuple[str, ...]:
    """The labels, as the model's owner wrote them, that become entities."""
    written = {label_key(label): label for label in reversed(tuple(known))}
    if settings.labels:
        keys = dict.fromkeys(map(label_key, settings.labels))
        asked = {label_key(label): label for label in reversed(settings.labels)}
        return tuple(written.get(key, asked[key]) for key in keys)
    found = tuple(reversed(written.values()))
    if len(found) <= MAX_LABELS:
        return found
    return tuple(label for label in found if label_key(label) in EVERYDAY_LABELS)


def discovery_filter(name: str, settings: HomeAssistantSettings) -> str:
    """The topic filter that all discovery messages of the camera ``name`` match."""
    return f"{settings.prefix}/+/{_node(name)}/+/config"


def discovery(name: str, settings: HomeAssistantSettings, features: Features) -> dict[str, bytes]:
    """Topic -> payload, to be retained, of every entity of the camera ``name``."""
    topics = Topics(name, features.parts)
    return _messages(topics, settings, features, entities(topics, features))


def board_discovery(
    name: str, settings: HomeAssistantSettings, features: Features
) -> dict[str, bytes]:
    """The same of the process ``name`` that several cameras share: the board that they are on."""
    telemetry = Topics(name).telemetry
    found = [_problem(telemetry), *_of_board(telemetry, features)]
    return _messages(Topics(name), settings, features, found)


def _of_board(telemetry: str, features: Features) -> Iterator[Entity]:
    if features.has_temperature:
        yield _temperature(telemetry)
    if features.has_temperature or features.has_throttling:
        yield _throttled(telemetry)


def _messages(
    topics: Topics,
    settings: HomeAssistantSettings,
    features: Features,
    found: Iterable[Entity],
) -> dict[str, bytes]:
    name, node = topics.name, _node(topics.name)
    device = _device(name, settings, features)
    origin = {"name": "edgecam", "sw_version": __version__}
    messages = {}
    for event_type in features.event_types:
        topic = f"{settings.prefix}/device_automation/{node}/{slug(event_type)}/config"
        trigger = _trigger(topics.event, event_type, features.stale_after_s)
        messages[topic] = _encode({**trigger, "device": device, "origin": origin})
    for entity in found:
        unique_id = f"{node}_{entity.object_id}"
        entity_id = _NOT_ENTITY_ID.sub("_", unique_id).strip("_")
        messages[f"{settings.prefix}/{entity.component}/{node}/{entity.object_id}/config"] = (
            _encode(
                {
                    "name": entity.name,
                    "unique_id": unique_id,
                    "object_id": entity_id,
                    "default_entity_id": f"{entity.component}.{entity_id}",
                    "availability": _availability(topics, entity.needs_camera, features.process),
                    "availability_mode": "all",
                    "device": device,
                    "origin": origin,
                    "qos": 1,
                    **entity.fields,
                }
            )
        )
    return messages


def _node(name: str) -> str:
    return f"edgecam_{name}"


def _availability(topics: Topics, needs_camera: bool, process: str | None) -> list[dict[str, str]]:
    """The daemon's will; and the camera's state for what only a camera can tell."""
    of = (topics.availability, topics.source) if needs_camera else (topics.availability,)
    if process is not None:
        # The will of several cameras is that of their process.
        of = (Topics(process).availability, *of)
    return [
        {"topic": topic, "payload_available": "online", "payload_not_available": "offline"}
        for topic in of
    ]


def _device(name: str, settings: HomeAssistantSettings, features: Features) -> dict[str, Any]:
    """The device; what is not known is left out."""
    board = features.board
    device = {
        "identifiers": [_node(name)],
        "name": features.title or f"Edgecam {name}",
        "manufacturer": "edgecam",
        "model": board.model or "edgecam",
        "hw_version": board.revision,
        "serial_number": board.serial,
        "sw_version": f"{__version__}, {features.models}" if features.models else __version__,
        "configuration_url": features.page,
        "suggested_area": settings.area,
        "via_device": None if features.process is None else _node(features.process),
    }
    return {key: value for key, value in device.items() if value is not None}


def _trigger(topic: str, event_type: str, stale_after_s: float) -> dict[str, Any]:
    """What an automation may begin with: the device's own trigger, shown as "fall detected"."""
    return {
        "automation_type": "trigger",
        "type": "detected",
        "subtype": event_type.replace("_", " "),
        "topic": topic,
        "qos": 1,
        "payload": event_type,
        "value_template": _on_time("value_json.event_type", stale_after_s),
    }


def _on_time(expression: str, stale_after_s: float) -> str:
    """A template that gives nothing for an event that comes late."""
    on_time = f"late is number and late <= {stale_after_s:g}"
    return (
        "{% if value_json is defined %}{% set late = value_json.delayed_s | default(0) %}"
        f"{{% if {on_time} %}}{{{{ {expression} }}}}{{% endif %}}{{% endif %}}"
    )


def entities(topics: Topics, features: Features) -> Iterator[Entity]:
    """Every entity that such a camera has."""
    for label in features.labels:
        yield from _occupancy(topics.label(label), _written(label), topics.count(label))
    for zone, labels in features.zones.items():
        for label in labels:
            name = f"{_shown(zone)} {_in_a_row(label)}"
            object_id = f"zone_{zone}_{topics.label(label)}"
            yield from _occupancy(object_id, name, topics.zone_count(zone, label))
    if features.classifies:
        yield from _classification(topics, features)
    if features.event_types:
        yield _event(topics.event, features)
    if features.postures:
        posture = {"device_class": "enum", "options": features.postures, "icon": "mdi:human"}
        fields = {**posture, "state_topic": topics.posture}
        yield Entity("sensor", "posture", "Posture", fields, needs_camera=True)
        yield from _lasting(topics.posture)
    if features.has_snapshots:
        picture = {"image_topic": topics.snapshot, "content_type": "image/jpeg"}
        yield Entity("image", "snapshot", "Snapshot", picture)
    yield from _commands(topics, features)
    yield _problem(topics.telemetry)
    yield from _measurements(topics.telemetry)
    yield from _of_board(topics.telemetry, features)


def _classification(topics: Topics, features: Features) -> Iterator[Entity]:
    """What a classifier says of the picture, and whether it is what is asked for."""
    state: dict[str, Any] = {"state_topic": topics.classification}
    options = tuple(dict.fromkeys(features.classes))
    shown = {**state, "icon": "mdi:shape"}
    if 0 < len(options) <= MAX_OPTIONS:
        shown |= {"device_class": "enum", "options": options}
    yield Entity("sensor", "classification", "Classification", shown, needs_camera=True)
    asked = set(map(label_key, features.asked))
    for label in options:
        if label_key(label) in asked:
            value = _encode(label).decode()
            template = f"{{{{ 'ON' if value == {value} else 'OFF' }}}}"
            fields = {**state, "value_template": template}
            object_id = f"label_{topics.label(label)}"
            yield Entity("binary_sensor", object_id, _written(label), fields, needs_camera=True)


def _event(topic: str, features: Features) -> Entity:
    """What happens as it happens: an alarm must not ring for what happened yesterday.

    Home Assistant drops a message whose template gives nothing.
    """
    template = _on_time("value", features.stale_after_s)
    fields = {"event_types": features.event_types, "state_topic": topic}
    return Entity("event", "event", "Event", {**fields, "value_template": template})


def _lasting(posture: str) -> Iterator[Entity]:
    """What lasts, as a state, so it is never of yesterday: a fall until the person is up again."""
    for object_id, name, postures, fields in (
        ("fall", "Fall", ("fallen",), {"device_class": "safety"}),
        ("lying", "Lying", ("lying", "fallen"), {"icon": "mdi:bed"}),
        ("sitting", "Sitting", ("sitting",), {"icon": "mdi:seat"}),
    ):
        template = f"{{{{ 'ON' if value in {list(postures)} else 'OFF' }}}}"
        state = {"state_topic": posture, "value_template": template}
        yield Entity("binary_sensor", object_id, name, {**fields, **state}, needs_camera=True)


def _commands(topics: Topics, features: Features) -> Iterator[Entity]:
    """What a person may do from there, where the configuration allows it."""
    config = {"entity_category": "config"}
    if "pause" in features.commands:
        # On is what looks: the other way round than the topic.
        words = {"payload_on": "OFF", "payload_off": "ON", "state_on": "OFF", "state_off": "ON"}
        fields = _settable(topics, "pause") | words | {"icon": "mdi:motion-sensor"}
        yield Entity("switch", "detect", "Detect", fields)
    threshold = "decode.score_threshold"
    if threshold in features.commands:
        span = {"min": 0.0, "max": 1.0, "step": 0.01, "mode": "slider", "icon": "mdi:tune"}
        fields = _settable(topics, threshold) | span
        yield Entity("number", "score_threshold", "Score threshold", {**config, **fields})
    if "snapshot" in features.commands and features.has_snapshots:
        fields = {"command_topic": topics.set("snapshot"), "icon": "mdi:camera"}
        yield Entity("button", "take_snapshot", "Take snapshot", fields)


def _settable(topics: Topics, setting: str) -> dict[str, Any]:
    return {"command_topic": topics.set(setting), "state_topic": topics.state(setting)}


def _shown(part: str) -> str:
    return part.replace("_", " ").replace("-", " ").strip().capitalize() or part


def _in_a_row(label: str) -> str:
    """A label behind other words: as it was written, unless it is a slug."""
    return label.replace("_", " ") if label == slug(label) else label


def _written(label: str) -> str:
    """A label at the start: a common noun gets its capital."""
    shown = _in_a_row(label)
    return shown[:1].upper() + shown[1:] if shown.isascii() else shown


def _occupancy(object_id: str, name: str, topic: str) -> Iterator[Entity]:
    """Whether there is any, and how many."""
    yield Entity(
        "binary_sensor",
        f"{object_id}_occupancy",
        f"{name} occupancy",
        {
            "device_class": "occupancy",
            "state_topic": topic,
            "value_template": "{{ 'ON' if value | int(0) > 0 else 'OFF' }}",
        },
        needs_camera=True,
    )
    yield Entity(
        "sensor",
        f"{object_id}_count",
        f"{name} count",
        {**MEASUREMENT, "state_topic": topic, "icon": "mdi:counter"},
        needs_camera=True,
    )


def _of_json(expression: str, otherwise: str = "") -> str:
    """A template of a JSON payload; an empty one, which clears the topic, is none."""
    value = f"{{{{ {expression} }}}}"
    return f"{{% if value_json is defined %}}{value}{{% else %}}{otherwise}{{% endif %}}"


# Without the age of the last frame, which every report changes.
_SOURCE = (
    "{'state': value_json.source.state, 'reason': value_json.source.reason, "
    "'reconnects': value_json.source.reconnects, 'faults': value_json.source.faults} | tojson"
)


def _problem(telemetry: str) -> Entity:
    fields = {
        "device_class": "problem",
        "state_topic": telemetry,
        "value_template": _of_json("'OFF' if value_json.source.state == 'online' else 'ON'"),
        "json_attributes_topic": telemetry,
        "json_attributes_template": _of_json(_SOURCE, "{}"),
    }
    return Entity("binary_sensor", "stream_problem", "Stream problem", {**DIAGNOSTIC, **fields})


def _measurements(telemetry: str) -> Iterator[Entity]:
    """How it runs; ``None`` is Home Assistant's word for a value that is not known."""
    common = {**RESTLESS, "state_topic": telemetry}
    duration = {**common, **MEASUREMENT, "device_class": "duration"}
    rate = {"unit_of_measurement": "fps", "icon": "mdi:speedometer"}
    yield Entity(
        "sensor",
        "fps",
        "Frame rate",
        {
            **common,
            **MEASUREMENT,
            **rate,
            "value_template": _of_json("value_json.fps.published"),
            "suggested_display_precision": 1,
        },
    )
    for object_id, name, key in (
        ("inference_time", "Inference time", "invoke_ms"),
        ("latency", "Capture to publish", "capture_to_publish_ms"),
    ):
        template = _of_json(f"value_json.{key}.p50 if value_json.{key} else None")
        milliseconds = {"unit_of_measurement": "ms", "suggested_display_precision": 1}
        yield Entity(
            "sensor", object_id, name, {**duration, **milliseconds, "value_template": template}
        )
    age = {
        "unit_of_measurement": "s",
        "suggested_display_precision": 1,
        "value_template": _of_json("value_json.source.last_frame_age_s"),
    }
    yield Entity("sensor", "last_frame_age", "Last frame age", {**duration, **age})
    delegate = {"icon": "mdi:chip", "value_template": _of_json("value_json.delegate")}
    fields = {**DIAGNOSTIC, "state_topic": telemetry, **delegate}
    yield Entity("sensor", "delegate", "Delegate", fields)


def _temperature(telemetry: str) -> Entity:
    fields = {
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "suggested_display_precision": 0,
        "state_topic": telemetry,
        "value_template": _of_json("value_json.temperature_c"),
    }
    return Entity("sensor", "temperature", "Temperature", {**RESTLESS, **MEASUREMENT, **fields})


def _throttled(telemetry: str) -> Entity:
    slower = "value_json.throttled or (value_json.thermal and value_json.thermal.step)"
    fields = {
        "device_class": "problem",
        "state_topic": telemetry,
        "value_template": _of_json(f"'ON' if {slower} else 'OFF'"),
        "json_attributes_topic": telemetry,
        "json_attributes_template": _of_json("(value_json.thermal or {}) | tojson", "{}"),
    }
    return Entity("binary_sensor", "throttling", "Throttling", {**DIAGNOSTIC, **fields})
