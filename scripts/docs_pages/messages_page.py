"""The page about topics and messages, made from the code that publishes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from edgecam.messages.schema import MESSAGES, schema
from edgecam.messages.topics import Topics

HEAD = """# Messages

Topics begin with `edgecam/` and the camera's name; names, labels and zones are slugs,
`[a-z0-9_-]{1,64}`. States are sent on change, and again on every connection;
[Delivery](delivery.md) says what holds while the broker is away. This page is written by
`scripts/make-reference`; `edgecam schema` prints the same as JSON schema (2020-12).
"""


def topics() -> Iterator[tuple[str, str, str]]:
    """Every topic of ``Topics``, what is in it, and how it is sent."""
    pattern = Topics("<name>")
    for name, member in vars(Topics).items():
        if name.startswith("_") or name in ("name", "base"):
            continue
        what, _, how = (inspect.getdoc(member) or "").partition("\n\n")
        found = getattr(pattern, name)
        if callable(found):
            # A slug that stands for the parameter until it has its brackets.
            names = inspect.signature(found).parameters
            found = found(*(f"any-{each}" for each in names))
            for each in names:
                found = found.replace(f"any-{each}", f"<{each}>")
        # What else there is are parts of topics.
        if isinstance(found, str) and found.startswith(f"{pattern.base}/"):
            yield found, what, how


def messages_page() -> str:
    """Every topic, and every key of every message."""
    lines = [HEAD, "| topic | what | QoS |", "| --- | --- | --- |"]
    lines += [f"| `{topic}` | {what} | {qos} |" for topic, what, qos in topics()]
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
