"""The telemetry as Prometheus reads it; the only file that imports prometheus_client.

A metric is named after its key in the telemetry message: ``rss_bytes`` is ``edgecam_rss_bytes``,
``source.last_frame_age_s`` is ``edgecam_source_last_frame_age_s``, ``invoke_ms`` of one of the
``models`` is ``edgecam_model_invoke_ms``. What only ever grows ends in ``_total``, as Prometheus
wants it. What is not known (null) is left out, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from edgecam.messages.telemetry import Telemetry

PREFIX = "edgecam"
PERCENTILES = {"p50": "50", "p95": "95"}
STATES = {
    "source": ("online", "offline", "frozen", "ended"),
    "mqtt": ("connected", "disconnected"),
    "mqtt.spool": ("ready", "failing", "off", "none"),
    "recorder": ("ready", "failing"),
}
# Of the counters, what goes down too.
GAUGES = frozenset({"web_viewers"})
# No numbers, or given elsewhere: the broker's counters are among the others.
LEFT_OUT = frozenset(
    {"schema", "name", "boot_id", "sequence", "models", "counters", "mqtt.counters"}
)
ABOUT = ("boot_id", "runtime", "delegate")
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in the picture: numbers by label, by zone and label, and events by type."""

    counts: Mapping[str, int]
    zone_counts: Mapping[str, Mapping[str, int]]
    events: Mapping[str, int]


Sample = tuple[dict[str, str], float]


def _family(name: str, help_text: str, samples: Iterable[Sample], counts: bool = False) -> Metric:
    """One metric with its samples; ``counts``: it only ever grows."""
    found = list(samples)
    labels = list(found[0][0]) if found else []
    plain = _NO_NAME.sub("_", f"{PREFIX}_{name}")
    make = CounterMetricFamily if counts else GaugeMetricFamily
    family: Metric = make(plain, help_text, labels=labels)
    for values, number in found:
        family.add_metric(list(values.values()), number)  # type: ignore[attr-defined]
    return family


class Page:
    """One page of metrics, as ``prometheus_client`` collects it."""

    def __init__(self, telemetry: Telemetry, seen: Seen) -> None:
        self._telemetry, self._seen = telemetry, seen
        self._label = {"name": telemetry.name}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest telemetry."""
        fields = msgspec.to_builtins(self._telemetry)
        yield from self._tree(fields, "")
        yield from self._counters(fields["counters"])
        yield from self._models(fields["models"])
        yield from self._states(fields)
        about = {key: fields[key] or "" for key in ABOUT}
        yield _family("info", "what runs", [({**self._label, **about}, 1.0)])
        yield from self._picture()

    def _tree(self, fields: Mapping[str, Any], path: str) -> Iterator[Metric]:
        """Every number below ``path``, a dotted key of the message."""
        for key, value in fields.items():
            place = f"{path}{key}"
            name = place.replace(".", "_")
            if place in LEFT_OUT or value is None or isinstance(value, str | list | tuple):
                continue
            if place == "fps":
                rates = [({"stage": k}, v) for k, v in value.items() if v is not None]
                yield self._gauge(name, "frames per second over the last window", rates)
            elif isinstance(value, Mapping) and value.keys() == PERCENTILES.keys():
                yield self._gauge(name, f"milliseconds, {_help(place)}", _percentiles(value))
            elif place == "source.faults":
                faults = [({**self._label, "fault": k}, v) for k, v in value.items()]
                yield _family(name, "of the camera, by kind", faults, counts=True)
            elif isinstance(value, Mapping):
                yield from self._tree(value, f"{place}.")
            else:
                grows = key in ("dropped", "reconnects")
                yield _family(name, _help(place), [(self._label, float(value))], grows)

    def _gauge(self, name: str, help_text: str, samples: Iterable[Sample]) -> Metric:
        return _family(name, help_text, [({**self._label, **labels}, v) for labels, v in samples])

    def _counters(self, counters: Mapping[str, int]) -> Iterator[Metric]:
        for name, number in counters.items():
            grows = name not in GAUGES
            words = f"{name.replace('_', ' ')}{' since start' if grows else ''}"
            yield _family(name, words, [(self._label, number)], grows)

    def _models(self, models: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
        """The stages of each model, and what each is."""
        for key in ("preprocess_ms", "invoke_ms", "decode_ms"):
            samples = [
                ({"model": model["name"], **labels}, value)
                for model in models
                if model[key] is not None
                for labels, value in _percentiles(model[key])
            ]
            yield self._gauge(f"model_{key}", "milliseconds of one model", samples)
        facts = [
            {"model": m["name"], "family": m["family"] or "", "delegate": m["delegate"] or ""}
            for m in models
        ]
        yield self._gauge("model_info", "which models run, and on what", [(f, 1.0) for f in facts])

    def _states(self, fields: Mapping[str, Any]) -> Iterator[Metric]:
        for part, states in STATES.items():
            found: Any = fields
            for key in part.split("."):
                found = found and found[key]
            if found is not None:
                samples = [({"state": state}, float(state == found["state"])) for state in states]
                name = part.replace(".", "_")
                yield self._gauge(f"{name}_state", f"1 for the state of the {part}", samples)

    def _picture(self) -> Iterator[Metric]:
        seen, label = self._seen, self._label
        counts = [({"label": key}, float(number)) for key, number in seen.counts.items()]
        yield self._gauge("in_picture", "how many are in the picture", counts)
        zones = [
            ({"zone": zone, "label": key}, float(number))
            for zone, counts in seen.zone_counts.items()
            for key, number in counts.items()
        ]
        yield self._gauge("in_zone", "how many are in the zone", zones)
        events = [({**label, "event_type": key}, float(n)) for key, n in seen.events.items()]
        yield _family("events", "events since start, by type", events, counts=True)


def _percentiles(value: Mapping[str, float]) -> list[Sample]:
    return [({"percentile": PERCENTILES[key]}, value[key]) for key in PERCENTILES]


def _help(place: str) -> str:
    """What the message's schema says of a key, else the key in words."""
    head, _, rest = place.partition(".")
    for field in msgspec.structs.fields(Telemetry):
        for note in getattr(field.type, "__metadata__", ()):
            if field.name == head and isinstance(note, msgspec.Meta) and note.description:
                return f"{note.description}: {rest.replace('_', ' ')}" if rest else note.description
    return place.replace(".", " ").replace("_", " ")


class Pages:
    """The metrics of several cameras: each family once, with the samples of all."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest telemetry of each."""
        families: dict[str, Metric] = {}
        for page in self._pages:
            for family in page.collect():
                first = families.setdefault(family.name, family)
                if first is not family:
                    first.samples += family.samples
        yield from families.values()


def exposition(cameras: Sequence[tuple[Telemetry, Seen]], accept: str) -> tuple[bytes, str]:
    """The page and its content type, in the format that the header ``Accept`` prefers."""
    registry = CollectorRegistry()
    registry.register(Pages([Page(telemetry, seen) for telemetry, seen in cameras]))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind
