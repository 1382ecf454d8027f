"""Every parser of outside bytes ends in a result or in one line, whatever the bytes are.

``scripts/fuzz`` runs the same targets for longer, and measures time and memory.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutation import mutated
from fuzz.targets import TARGETS

EXAMPLES = 40


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeds_are_taken(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 1 << 32), data=st.binary(max_size=100))
def test_damaged_bytes_end_in_a_result_or_in_one_line(name: str, seed: int, data: bytes) -> None:
    target = TARGETS[name]
    target.run(data)
    noise = random.Random(seed)
    nearly_right = mutated(noise, target.seeds(), target.tokens, target.ends_bytes)
    target.run(nearly_right[: target.max_bytes])
