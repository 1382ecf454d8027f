"""The JSON schema of every message, made from the struct that stands beside its encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from edgecam.messages.event import EventMessage
from edgecam.messages.format import SCHEMA
from edgecam.messages.result import ResultMessage
from edgecam.messages.telemetry import Telemetry

MESSAGES: Mapping[str, type[Struct]] = {
    "event": EventMessage,
    "result": ResultMessage,
    "telemetry": Telemetry,
}


def schema(message: str | None = None) -> dict[str, Any]:
    """The JSON schema (2020-12) of one message of ``MESSAGES``, or of any of them."""
    types = [MESSAGES[message]] if message else list(MESSAGES.values())
    shapes, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    body: dict[str, Any] = dict(shapes[0]) if message else {"anyOf": list(shapes)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"edgecam {message or 'messages'}, schema {SCHEMA}",
        **body,
        "$defs": definitions,
    }
