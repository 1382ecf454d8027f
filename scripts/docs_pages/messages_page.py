"""The page about topics and messages, made from the code that publishes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgecam.messages.result import Topics
from edgecam.messages.schema import MESSAGES, schema

_TOPICS = Topics("<name>")
# Topic, what is in it, how it is sent.
TOPICS: tuple[tuple[str, str, str], ...] = (
    (_TOPICS.availability, "`online`, `offline` (also the will)", "1, retained"),
    (_TOPICS.source, "`online`, `offline`: whether the camera delivers", "1, retained"),
    (_TOPICS.result, "JSON, [one for each frame](#result)", "0"),
    (
        _TOPICS.event,
        "JSON, [one for each event](#event), by [these rules](events.md)",
        "1, never retained",
    ),
    (f"{_TOPICS.base}/count/<label>", "number of tracks; a pose is a `person`", "1, retained"),
    (
        f"{_TOPICS.base}/zone/<zone>/count/<label>",
        "number of tracks in the zone",
        "1, retained",
    ),
    (
        _TOPICS.posture,
        "gravest of anybody: `none`, `unknown`, `standing`, `sitting`, `lying`, `fallen`",
        "1, retained",
    ),
    (_TOPICS.snapshot, "JPEG, where `[snapshot] mode` asks for it", "0, or 1 and retained"),
    (_TOPICS.telemetry, "JSON, [what edgecam says about itself](#telemetry)", "1, retained"),
    (f"{_TOPICS.base}/state/<setting>", "a setting as it is", "1, retained"),
    (f"{_TOPICS.base}/set/<setting>", "a setting as it shall be, where `[remote]` allows it", "in"),
)
HEAD = """# Messages

Topics begin with `edgecam/` and the camera's name; names, labels and zones are slugs,
`[a-z0-9_-]{1,64}`. States are sent on change, and again on every connection. This page is written
by `scripts/make-reference`; `edgecam schema` prints the same as JSON schema (2020-12).
"""


def messages_page() -> str:
    """Every topic, and every key of every message."""
    lines = [HEAD, "| topic | what | QoS |", "| --- | --- | --- |"]
    lines += [f"| `{topic}` | {what} | {qos} |" for topic, what, qos in TOPICS]
    for message in MESSAGES:
        found = schema(message)
        definitions = found["$defs"]
        top = found["$ref"].rpartition("/")[2]
        lines += ["", f"## {message}", "", *_table(top, definitions)]
        # In the order in which the tables above speak of them.
        for name in _below(top, definitions, {top: None}):
            lines += ["", f"### {_title(name)}", "", *_table(name, definitions)]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return name.removesuffix("Message")


def _below(name: str, definitions: Mapping[str, Any], seen: dict[str, None]) -> tuple[str, ...]:
    """The definitions that ``name`` refers to, itself left out."""
    for below in _references(definitions[name]):
        if below not in seen:
            seen[below] = None
            _below(below, definitions, seen)
    return tuple(seen)[1:]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _table(name: str, definitions: Mapping[str, Any]) -> Iterator[str]:
    """The description of one object, and its keys."""
    found = definitions[name]
    yield " ".join(found["description"].replace("``", "`").split())
    yield ""
    yield "| key | holds | always | what it is |"
    yield "| --- | --- | --- | --- |"
    for key, part in found["properties"].items():
        always = "yes" if key in found.get("required", ()) or "default" in part else ""
        text = part.get("description", "").replace("|", "\\|")
        yield f"| `{key}` | {_kind(part)} | {always} | {text} |"


def _kind(part: Mapping[str, Any]) -> str:
    """What a value is, in words."""
    if "$ref" in part:
        name = _title(part["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_kind(each) for each in part["anyOf"])
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_kind(part['items'])}" if part.get("items") else "list of numbers"
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"object of {_kind(values)}" if isinstance(values, dict) else "object"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = str(part.get("type", "number"))
    return words.get(kind, kind)
