"""What one frame cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds that one model's stages took for one frame."""

    preprocess_ms: float
    invoke_ms: float
    decode_ms: float
