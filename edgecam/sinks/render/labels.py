"""Words beside what they name, in a picture: none covers another or leaves the picture."""

from __future__ import annotations

from collections.abc import Iterator

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2

TEXT_BGR = (255, 255, 255)
SHADOW_BGR = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
Area = tuple[int, int, int, int]


class Labels:
    """Takes words while a picture is drawn, and writes them over it at the end."""

    def __init__(self, image: Image, thickness: int) -> None:
        self._image, self._thickness = image, thickness
        self._scale = 0.25 + 0.15 * thickness
        self._labels: list[tuple[str, Area]] = []

    def add(self, words: str, x_min: float, y_min: float, x_max: float, y_max: float) -> None:
        """``words`` name what is inside this box, pixels."""
        self._labels.append((words, (round(x_min), round(y_min), round(x_max), round(y_max))))

    def draw(self) -> None:
        """Write all of them; those that find no room are left out."""
        taken: list[Area] = []
        for words, box in self._labels:
            (width, height), base = cv2.getTextSize(words, FONT, self._scale, self._thickness)
            area = self._free(box, (width + 4, height + base + 2), taken)
            if area is not None:
                taken.append(area)
                self._write(words, area[0] + 2, area[3] - base - 1)

    def _free(self, box: Area, size: tuple[int, int], taken: list[Area]) -> Area | None:
        """The first of the places where such words cover no others."""
        height, width = self._image.shape[:2]
        for x, y in _places(box, size, height):
            left = max(0, min(x, width - size[0]))
            top = max(0, min(y, height - size[1]))
            area = (left, top, left + size[0], top + size[1])
            if not any(_covers(area, other) for other in taken):
                return area
        return None

    def _write(self, words: str, x: int, y: int) -> None:
        # A thicker text would be a wider one since OpenCV 5, and no outline of the other.
        for x_px, y_px in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            self._put(words, (x + x_px, y + y_px), SHADOW_BGR)
        self._put(words, (x, y), TEXT_BGR)

    def _put(self, words: str, where: tuple[int, int], colour: tuple[int, int, int]) -> None:
        thickness = self._thickness
        cv2.putText(self._image, words, where, FONT, self._scale, colour, thickness, cv2.LINE_AA)


def _covers(one: Area, other: Area) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def _places(box: Area, size: tuple[int, int], picture_height: int) -> Iterator[tuple[int, int]]:
    """Above the box, below it, beside it, inside it, then row after row."""
    left, top, right, bottom = box
    width, height = size
    yield from ((left, top - height), (right - width, top - height))
    yield from ((left, bottom), (right - width, bottom))
    yield from ((right, top), (left - width, top), (left, top))
    for row in range(1, picture_height // height + 1):
        yield from ((left, top - (row + 1) * height), (left, bottom + row * height))
