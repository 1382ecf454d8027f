"""Every family decodes made-up tensors as it did: which models are its own, and what it finds.

What is right is shown elsewhere, against others' decoders and by hand; here no rule changes unseen.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from decoder_cases import CASES, KEPT, kept_of, steps_of_pages

WRITTEN = json.loads(KEPT.read_text())


def near(found: Any, kept: Any, slack: float = 0.003) -> bool:
    """Equal, numbers to a few thousandths: processors round differently."""
    if isinstance(kept, list):
        pairs = zip(found, kept, strict=False)
        return len(found) == len(kept) and all(near(*pair, slack) for pair in pairs)
    if isinstance(kept, float):
        return found is not None and abs(found - kept) <= slack + 1e-5 * abs(kept)
    return bool(found == kept)


def test_each_case_is_written() -> None:
    assert list(WRITTEN) == [*CASES, "pages"]


@pytest.mark.parametrize("name", CASES)
def test_a_family_states_and_finds_what_it_did(name: str) -> None:
    found, kept = json.loads(json.dumps(kept_of(name))), WRITTEN[name]
    assert found["stated"] == kept["stated"]
    assert found["others"] == kept["others"]
    # OpenCV 4.8 samples a map more roughly than 5.
    slack = 0.06 if found["stated"][0] == "documents" else 0.003
    for what, rows in kept["results"].items():
        assert near(found["results"][what], rows, slack), (what, found["results"][what], rows)


def test_a_page_is_found_by_the_steps_that_it_was() -> None:
    found, kept = steps_of_pages(), WRITTEN["pages"]
    for number, outline in enumerate(kept["outlines"]):
        for step, values in outline.items():
            # OpenCV 4 samples a map more roughly than 5.
            assert near(found["outlines"][number][step], values, 0.06), (number, step)
    assert near(found["sharpened"], kept["sharpened"], 0.02)
