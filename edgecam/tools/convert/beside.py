"""What is said of a TensorFlow.js model outside its network: labels and normalisation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.core import bounded_file
from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization

_TEACHABLE_MACHINE = "@teachablemachine/image"


@dataclass(frozen=True, slots=True)
class Description:
    """``labels`` in the order of the classes; ``normalization``: what the network was taught."""

    labels: tuple[str, ...] = ()
    normalization: Normalization | None = None


def description(source: Path) -> Description:
    """Read Teachable Machine's ``metadata.json`` beside ``model.json``, if it is there.

    Its library gives its networks pictures of -1 to 1.
    """
    try:
        found: Any = json.loads(
            bounded_file.read(source.with_name("metadata.json"), bounded_file.TEXT_BYTES)
        )
    except (OSError, ValueError, RecursionError):
        return Description()
    if not isinstance(found, dict) or found.get("packageName") != _TEACHABLE_MACHINE:
        return Description()
    labels = found.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        labels = []
    return Description(tuple(labels), MINUS_ONE_TO_ONE)
