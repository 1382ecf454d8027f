"""Counts: how many of each label a frame has, and what changed since the frame before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from edgecam.core.keypoints import SKELETONS
from edgecam.core.result import Decoded, Result
from edgecam.messages.label_names import label_key


def counts(result: Result) -> dict[str, int]:
    """How many of each label (as a slug) are in the frame; a pose counts as a person.

    Tracks are counted where there are any: they outlast a frame in which a person is missed.

    Where several models see the same label the largest of their counts stands, for they look at
    the same people.
    """
    found: dict[str, int] = {}
    if result.insight is not None:
        for label, number in result.insight.counts.items():
            found[label_key(label)] = found.get(label_key(label), 0) + number
        return found
    for part in result.by_model.values():
        labels = Counter(label_key(d.label) for d in part.detections)
        if part.poses:
            label = label_key(SKELETONS[part.poses[0].skeleton].label)
            labels[label] = max(labels[label], len(part.poses))
        for label, number in labels.items():
            found[label] = max(found.get(label, 0), number)
    return found


class Counts:
    """Remembers the last count of every label once seen, to tell what changed."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """``labels`` are reported (as 0) with the first result even if absent from it."""
        self._last: dict[str, int | None] = {label_key(label): None for label in labels}
        self._parts: dict[str, Decoded] = {}

    def expect(self, labels: Iterable[str]) -> None:
        """Report these too with the next result, even if absent from it."""
        for label in map(label_key, labels):
            self._last.setdefault(label, None)

    def forget_models(self) -> None:
        """Other models may look at the frames from now on."""
        self._parts.clear()

    def changes(self, result: Result) -> dict[str, int]:
        """Labels whose number differs from the last result's; one that went away is 0."""
        # A model that did not look at this frame still says what it said of an earlier one.
        self._parts.update(result.by_model)
        now = counts(replace(result, by_model=self._parts))
        numbers = {label: now.get(label, 0) for label in {**self._last, **now}}
        changed = {k: n for k, n in numbers.items() if n != self._last.get(k)}
        self._last.update(changed)
        return changed
