"""The bundled document edge network: what it is made of, and how well it finds pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from normalisation import in_tflite

from edgecam.core.frame import Frame, Image
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Document
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.inference.tflite.file import read
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.evaluate.pages import Hit, by_canny, rate, summary
from edgecam.tools.train.documents.scene import render

PHOTOGRAPHS = Path(__file__).parents[1] / "data" / "documents"
MAX_BYTES = 400_000
# As in scripts/score-documents: no training has seen them.
FIRST_SEED = 3_000_000
SIZES = ((640, 480), (480, 640), (1280, 720), (720, 720))

Truth = tuple[Image, np.ndarray]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(ModelSettings(path="documents"), InferenceSettings(threads=2))


def finder(model: Model, threshold: float = 0.5) -> Callable[[Image], Document | None]:
    def find(image: Image) -> Document | None:
        frame = Frame(image, 0, 0.0, 0.0, file="")
        staged = model.preprocess(frame, model.buffer())
        options = DecodeOptions(score_threshold=threshold)
        found = model.decode(model.invoke(staged), staged, frame, options).documents
        return found[0] if found else None

    return find


def pages(count: int, sizes: tuple[tuple[int, int], ...]) -> Iterator[Truth]:
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = render(seed, *sizes[seed % len(sizes)])
        assert scene.corners is not None
        yield scene.image, scene.corners


def photographs() -> list[Truth]:
    corners = json.loads((PHOTOGRAPHS / "corners.json").read_text("utf-8"))
    return [(cv2.imread(str(PHOTOGRAPHS / name)), np.array(c)) for name, c in corners.items()]


def hits(find: Callable[[Image], Document | None], truths: list[Truth]) -> list[Hit]:
    found = []
    for image, truth in truths:
        page = find(image)
        corners = None if page is None else page.corners
        found.append(rate(corners, truth, image.shape[1], image.shape[0]))
    return found


def test_it_is_small_and_its_card_says_how_it_was_made(model: Model) -> None:
    assert model.decoder.family == "documents"
    assert model.interpreter.inputs[0].shape == (1, 256, 256, 3)
    assert len(model.file.data) <= MAX_BYTES
    assert model.card is not None
    assert "edgecam train documents" in model.card.fields["command"]
    assert model.card.fields["licence"] == "Apache-2.0"


@pytest.mark.parametrize("name", [card.name for card in bundled.cards()])
def test_no_batch_norm_is_left_in_what_ships(name: str) -> None:
    path = bundled.resolve(name)
    assert in_tflite(read(path.read_bytes(), name)) == []


def test_it_finds_pages_that_it_was_not_trained_on(model: Model) -> None:
    sizes = tuple((width // 2, height // 2) for width, height in SIZES)
    total = summary(hits(finder(model), list(pages(40, sizes))))
    assert total.good >= 0.9
    assert total.corner_error < 0.015


@pytest.mark.long
def test_it_finds_two_hundred_pages(model: Model) -> None:
    """The bars: IoU of 0.90 on 90 % of them, median corner error under 1.5 % of the diagonal."""
    total = summary(hits(finder(model), list(pages(200, SIZES))))
    assert total.good >= 0.9
    assert total.corner_error < 0.015


def test_on_photographs_it_is_no_worse_than_canny(model: Model) -> None:
    def canny(image: Image) -> Document | None:
        corners = by_canny(image)
        return None if corners is None else Document(1.0, corners)

    truths = photographs()
    ours, plain = summary(hits(finder(model), truths)), summary(hits(canny, truths))
    assert ours.good == 1.0
    assert ours.good >= plain.good
    # Corners were read off by eye, to about 0.3 % of the diagonal: less than a sixth of that is
    # no difference.
    assert ours.corner_error < min(0.01, plain.corner_error + 0.0005)
    assert ours.overlap > plain.overlap - 0.002


def test_it_sees_no_page_on_most_tables(model: Model) -> None:
    find = finder(model)
    seen = [find(render(seed, 320, 240, empty=True).image) for seed in range(7_000, 7_030)]
    assert sum(page is not None for page in seen) <= 3


def test_a_page_is_found_again_a_pixel_further(model: Model) -> None:
    """No corner jumps when the picture hardly changes."""
    image, _ = photographs()[0]
    find = finder(model)
    first, second = find(image), find(np.roll(image, 2, axis=1))
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(second.corners - (2.0, 0.0), first.corners, atol=3.0)


def test_pages_that_fill_the_input_are_found(model: Model) -> None:
    find = finder(model)
    assert sum(find(image) is not None for image, _ in pages(8, ((256, 256),))) >= 7
