"""What ships under models/ is what its cards say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgecam.core.errors import ModelError
from edgecam.inference import catalog as bundled
from edgecam.sources.video import VideoFile

MODELS = Path(__file__).parents[2] / "models"
CARDS = sorted(path for path in MODELS.rglob("*.toml") if path.parent.name != "published")


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_fits_its_file_and_says_where_it_is_from(path: Path) -> None:
    card = bundled.read_card(path)
    assert hashlib.sha256(card.file.read_bytes()).hexdigest() == card.fields["sha256"]
    for field in ("description", "origin", "licence", "copyright", "command"):
        assert card.fields[field], field


def test_every_binary_has_a_card() -> None:
    files = [*MODELS.rglob("*.tflite"), *MODELS.rglob("*.mp4")]
    assert [file for file in files if not file.with_suffix(".toml").is_file()] == []


def test_the_clip_holds_a_hundred_frames_that_differ() -> None:
    source = VideoFile(str(bundled.clip()))
    frames = list(source.frames())
    assert len(frames) == 100
    assert {(frame.width_px, frame.height_px) for frame in frames} == {(768, 576)}
    assert frames[-1].media_time_s == pytest.approx(9.9, abs=0.05)
    assert abs(frames[0].image.astype(int) - frames[-1].image).max() > 100


CARD = """
[model]
file = "m.tflite"
sha256 = "%s"
""" % ("aB" * 32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CARD.replace("m.tflite", "../m.tflite"), "file: expected the name of a file beside"),
        (CARD + 'labels = "../x"', "labels: expected the name of a file beside the card"),
        (CARD + 'labels = "/etc/passwd"', "labels: expected the name"),
        (CARD + 'labels = ".."', "labels: expected the name"),
        (CARD + 'labels = ""', "labels: expected the name"),
        (CARD + 'labels = "a\\u0000"', "labels: expected the name"),
        (CARD + "labels = ['a']", "labels: expected the name"),
        (CARD + "aliases = 5", "aliases: expected a list of texts, found 5"),
        (CARD + "notes = [5]", "notes: expected a list of texts"),
        (CARD.replace("aB", "a"), "sha256: expected 64 hexadecimal digits"),
        (CARD + ".".join("a" * 17) + " = 1", "a key of more than 16 parts"),
        ("[model]", "expected a table .model. with file and sha256"),
        ("model = 5", "expected a table"),
        ("x = " + "[" * 5000, "nest too deep"),
    ],
)
def test_a_card_that_names_other_places_or_is_none_is_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=expected) as found:
        bundled.read_card(path)
    assert "\n" not in str(found.value)


def test_a_hash_in_capitals_is_the_same_hash(tmp_path: Path) -> None:
    content = b"a model"
    digest = hashlib.sha256(content).hexdigest()
    path = tmp_path / "m.toml"
    path.write_text(CARD.replace("aB" * 32, digest.upper()))
    bundled.verify(bundled.read_card(path), content)
    with pytest.raises(ModelError, match="does not match its card"):
        bundled.verify(bundled.read_card(path), b"another")


def test_every_bundled_model_under_mit_comes_with_the_text_of_its_licence() -> None:
    root = Path(__file__).parent.parent.parent
    for card in bundled.cards():
        if "MIT" not in f"{card.fields['licence']} {card.fields['copyright']}":
            continue
        texts = [root / text for text in card.fields["licence_texts"]]
        assert any("MIT License" in text.read_text("utf-8") for text in texts), card.name
