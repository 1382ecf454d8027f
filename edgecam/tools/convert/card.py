"""The card beside a model that was made here: what it is, of what, and by which command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecam.core import atomic_file as whole_file
from edgecam.core.errors import ModelError
from edgecam.inference import catalog as bundled
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import read


def table(name: str, fields: Mapping[str, Any]) -> str:
    """Return a table of TOML with those fields; keys are quoted where they must be."""
    plain = str.maketrans("", "", "_-")
    keys = {
        key: key if key.translate(plain).isalnum() and key.isascii() else json.dumps(key)
        for key in fields
    }
    lines = [f"{keys[key]} = {_value(value)}" for key, value in fields.items()]
    return "\n".join([f"[{name}]", *lines]) + "\n"


def _value(value: Any) -> str:
    """As in JSON, but for what TOML wants otherwise: no pairs of surrogates, no bare DEL."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    # A name on the disk that is no UTF-8 has halves of such pairs.
    return text.encode("utf-8", "replace").decode()


def write(model: Path, source: Path, command: str, notes: Sequence[str] = ()) -> str | None:
    """Write the card of ``model``, made from ``source``; return a note if that cannot be.

    A card of an earlier model of that name would refuse the new one and is replaced; a file that
    is no card is the person's own, and stays. ``notes``: what was guessed on the way.

    Raises:
        EdgecamError: the model cannot be read, or the card cannot be written.
    """
    path = model.with_suffix(".toml")
    if path.exists():
        try:
            bundled.read_card(path)
        except ModelError:
            return f"{path} is no card and stays as it is; {model.name} has none"
    fields = {**_fields(model, source), "command": command}
    if notes:
        fields["notes"] = [*fields.get("notes", ()), *notes]
    whole_file.write(path, table("model", fields).encode())
    return None


def _fields(model: Path, source: Path) -> dict[str, Any]:
    file = read(model)
    found = tflite_metadata.metadata(file)
    fields: dict[str, Any] = {
        "file": model.name,
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "input": "x".join(map(str, file.inputs[0].shape[1:3])),
        "description": file.description or model.stem,
        "origin": source.name,
    }
    if source.is_file():
        fields["origin_sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
        # What else was known about it goes on with it.
        known = bundled.card_of(source) if source.suffix == ".tflite" else None
        for key in ("origin", "licence", "copyright", "notes"):
            if known is not None and key in known.fields:
                fields[key] = known.fields[key]
    stated = found.inputs[0] if found.inputs else None
    if stated is not None and stated.mean and stated.std:
        fields |= {"mean": list(stated.mean), "std": list(stated.std)}
    return fields
