"""The JSON schema of a settings file, for editors that complete and check TOML.

Draft 7, which Taplo and the editors built on it take; msgspec itself writes 2020-12.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgecam.settings.cameras import PER_CAMERA
from edgecam.settings.scene import PLACES
from edgecam.settings.schema import Settings

DRAFT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """The schema of a whole file."""
    _, definitions = msgspec.json.schema_components([Settings], ref_template="#/definitions/{name}")
    parts = {name: _draft_7(part) for name, part in definitions.items()}
    whole = parts.pop("Settings")
    whole["properties"]["model"] = _models(whole["properties"]["model"])
    whole["properties"]["source"] = {
        "anyOf": [whole["properties"]["source"], {"type": ["string", "integer"]}]
    }
    whole["properties"]["camera"] = _cameras(whole["properties"])
    for kind in PLACES:
        # Of several cameras: the one whose place it is.
        place = parts[whole["properties"][kind]["items"]["$ref"].rpartition("/")[2]]
        place["properties"]["camera"] = {"type": "string"}
    return {"$schema": DRAFT, **whole, "title": "edgecam settings", "definitions": parts}


def _cameras(top: dict[str, Any]) -> dict[str, Any]:
    """A list of tables, each with what a camera may say for itself."""
    camera = {
        "type": "object",
        "properties": {key: top[key] for key in PER_CAMERA},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": camera}


def _models(listed: dict[str, Any]) -> dict[str, Any]:
    """A list of tables, one table, a name or a list of names."""
    one = {"anyOf": [listed["items"], {"type": "string"}]}
    return {"anyOf": [{"type": "array", "items": one}, *one["anyOf"]]}


def _draft_7(part: Any) -> Any:
    if isinstance(part, list | tuple):
        return [_draft_7(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: _draft_7(value) for key, value in part.items()}
    if "$ref" in found:
        # What stands beside a reference counts for nothing in draft 7.
        return {"$ref": found["$ref"]}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
        found["additionalItems"] = False
    choices = found.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        # TOML has no null: what is unset is left out.
        rest = [each for each in choices if each != {"type": "null"}]
        del found["anyOf"]
        found.update(rest[0] if len(rest) == 1 else {"anyOf": rest})
    if found.get("default", ...) is None:
        del found["default"]
    return found
