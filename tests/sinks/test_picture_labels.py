"""Words in a picture: none covers another or leaves the picture, whatever is named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgecam.sinks.render import labels as labels_module
from edgecam.sinks.render.labels import Area, Labels

Boxes = list[tuple[float, float, float, float]]
CROWD: Boxes = [(100.0 + 3 * n, 80.0, 140.0 + 3 * n, 200.0) for n in range(12)]
EDGES: Boxes = [
    (-50.0, -40.0, 30.0, 60.0),
    (600.0, -10.0, 700.0, 100.0),
    (620.0, 400.0, 900.0, 600.0),
    (0.0, 470.0, 640.0, 480.0),
]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Area]]:
    """The words that are written, each with the area that its pixels take."""
    found: list[tuple[str, Area]] = []
    write = Labels._write

    def spied(self: Labels, words: str, x: int, y: int) -> None:
        before = self._image.copy()
        write(self, words, x, y)
        rows, columns = np.nonzero((self._image != before).any(axis=2))
        area = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        found.append((words, tuple(map(int, area))))  # type: ignore[arg-type]

    monkeypatch.setattr(Labels, "_write", spied)
    return found


@pytest.mark.parametrize("boxes", [CROWD, EDGES, CROWD + EDGES], ids=["crowd", "edges", "both"])
def test_no_label_covers_another_or_is_cut_off(
    boxes: Boxes, written: list[tuple[str, Area]]
) -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    labels = Labels(image, 2)
    for number, box in enumerate(boxes):
        labels.add(f"person #{number} 0.87", *box)
    labels.draw()
    assert [words for words, _ in written] == [f"person #{n} 0.87" for n in range(len(boxes))]
    for (_, one), (_, other) in itertools.combinations(written, 2):
        assert not labels_module._covers(one, other)
    # The whole of a label is as wide anywhere: nothing of it is beyond an edge.
    widths = {area[2] - area[0] for words, area in written if len(words) == 14}
    assert max(widths) - min(widths) <= 12
    assert all(area[0] > 0 and area[2] < 640 for _, area in written)


def test_what_finds_no_room_is_left_out(written: list[tuple[str, Area]]) -> None:
    labels = Labels(np.full((40, 60, 3), 128, np.uint8), 1)
    for _ in range(30):
        labels.add("person", 10.0, 10.0, 50.0, 30.0)
    labels.draw()
    assert 1 <= len(written) < 30
