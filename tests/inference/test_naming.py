"""Which labels a model gets: those that belong to it, those that fit it, and no others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_models import BY_COLOUR, colour_classifier, write

from edgecam.core.errors import ModelError
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.inference.calibration import calibration
from edgecam.inference.decoders.calibrated import calibrated
from edgecam.inference.model import Model
from edgecam.inference.tflite.metadata import Metadata, TensorMetadata
from edgecam.settings.schema import InferenceSettings, ModelSettings

FIELD = Path(__file__).resolve().parents[3] / "shared" / "field"
needs_field = pytest.mark.skipif(not FIELD.is_dir(), reason=f"no files at {FIELD}")
# BGR.
GREEN = np.full((16, 16, 3), (0, 255, 0), np.uint8)
OF_ULTRALYTICS = "{'description': 'a model', 'stride': 32, 'names': {0: 'r', 1: 'g', 2: 'b'}}"


def model(path: Path, **settings: object) -> Model:
    return Model(ModelSettings(path=str(path), **settings), InferenceSettings(probe=False))


def best(loaded: Model, image: np.ndarray) -> tuple[str, int]:
    """Label and number of the surest class."""
    frame = Frame(image, 0, 0.0, 0.0)
    staged = loaded.preprocess(frame, loaded.buffer())
    found = loaded.decode(loaded.invoke(staged), staged, frame, DecodeOptions(top_k=1)).classes[0]
    return found.label, found.class_id


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "0 Class 1\n1 grüner Ball\n2 nothing"),
        ("labelmap.txt", "red\ngrüner Ball\nblue\n"),
        ("labels.json", '{"0": "red", "1": "grüner Ball", "2": "blue"}'),
        ("metadata.json", '{"labels": ["red", "grüner Ball", "blue"], "imageSize": 224}'),
        ("names.yaml", "names:\n  0: red\n  1: grüner Ball\n  2: blue\n"),
        ("data.yaml", "train: ../train\nnc: 3\nnames: ['red', 'grüner Ball', 'blue']\n"),
    ],
)
def test_the_label_file_that_people_put_beside_a_model_is_read(
    tmp_path: Path, name: str, text: str
) -> None:
    path = write(tmp_path / "model_unquant.tflite", colour_classifier())
    (tmp_path / name).write_text(text, "utf-8")
    assert best(model(path), GREEN) == ("grüner Ball", 1)


def test_a_label_file_of_another_model_is_named_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "m.tflite", colour_classifier())
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    assert best(model(path), GREEN) == ("class_1", 1)
    (record,) = [each for each in caplog.records if "not used" in each.message]
    assert record.message.startswith(f"{tmp_path / 'labels.txt'}: the label list has 5 entries")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("temp_meta.txt", OF_ULTRALYTICS, "g"),
        ("metadata.json", '{"names": {"0": "r", "1": "g", "2": "b"}}', "g"),
        # As many lines as there are classes.
        ("classes.txt", "r\ng\nb\n", "g"),
        ("README.txt", "made by no one\n", "class_1"),
        ("README.txt", "one\ntwo\nthree\nfour\nfive\n", "class_1"),
    ],
)
def test_a_text_in_the_model_is_a_label_file_only_if_it_fits(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    path = write(tmp_path / "m.tflite", colour_classifier(files={name: text.encode()}))
    assert best(model(path), GREEN) == (expected, 1)


@pytest.mark.parametrize(
    ("end", "output", "why"),
    [("MEAN", "out", "made by MEAN"), ("FULLY_CONNECTED", "feature_vector", "it is called")],
)
def test_an_embedding_is_no_classifier_unless_its_classes_are_named(
    tmp_path: Path, end: str, output: str, why: str
) -> None:
    path = write(tmp_path / "m.tflite", colour_classifier(end=end, output=output))
    with pytest.raises(ModelError, match=f"a picture's features \\({why}.*with --labels"):
        model(path)
    (tmp_path / "given.txt").write_text("r\ng\nb\n")
    assert best(model(path, labels=str(tmp_path / "given.txt")), GREEN) == ("g", 1)


def test_logits_without_labels_are_a_classifier(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", colour_classifier(end="FULLY_CONNECTED"))
    assert best(model(path), GREEN) == ("class_1", 1)


@needs_field
def test_the_names_of_birds_are_taken_over_their_ids() -> None:
    labels = model(FIELD / "models" / "aiy_birds_V1_3.tflite").decoder.labels
    assert labels is not None
    assert labels[735] == "Lonchura oryzivora"


@needs_field
def test_automls_classifier_sees_the_picture() -> None:
    from edgecam.sources.picture import read_image

    automl = model(FIELD / "models" / "automl_labeler_model.tflite", fit="stretch")
    assert best(automl, read_image(FIELD / "pictures" / "burger.jpg")) == ("roses", 2)


def said(text: str, transformation: int, default: float) -> Metadata:
    entry = TensorMetadata("scores", (), (), (), "calibration.txt", transformation, default)
    return Metadata("", "", (), (entry,), {"calibration.txt": text.encode()})


def test_calibration_is_a_sigmoid_of_the_transformed_score() -> None:
    found = calibration(said("0.9,2.0,-1.0\n\n1.0,1.0,0.0,0.5", 0, 0.25))
    assert found is not None
    assert found(0, 0.5) == pytest.approx(0.9 * 0.5)
    assert found(1, 0.9) == 0.25  # no parameters
    assert found(2, 0.4) == 0.25  # below the least
    assert found(7, 0.4) == 0.25  # no line
    logarithm = calibration(said("1.0,1.0,0.0", 1, 0.0))
    assert logarithm is not None
    # sigmoid(log(p)) = p / (1 + p)
    assert logarithm(0, 0.5) == pytest.approx(1 / 3)
    assert logarithm(0, 0.0) == pytest.approx(0.0, abs=1e-9)
    inverse = calibration(said("1.0,1.0,0.0", 2, 0.0))
    assert inverse is not None
    assert inverse(0, 0.3) == pytest.approx(0.3)
    assert inverse(0, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "nan,1,1", "1,2,3,4,5", "-1,1,1"])
def test_a_damaged_calibration_is_one_line(text: str) -> None:
    with pytest.raises(ModelError, match="expected scale,slope,offset") as raised:
        calibration(said(text, 0, 0.0))
    assert "\n" not in str(raised.value)


def test_calibrated_scores_order_the_classes(tmp_path: Path) -> None:
    loaded = model(write(tmp_path / "m.tflite", colour_classifier(BY_COLOUR / 20)))
    plain = loaded.decoder(loaded.dequantised(_tensors(loaded)), DecodeOptions())
    assert plain.classes[0].class_id == 1
    found = calibration(said("1.0,0.0,3.0\n1.0,0.0,-3.0\n1.0,0.0,0.0", 0, 0.0))
    assert found is not None
    loaded.decoder = calibrated(loaded.decoder, found)
    reported = loaded.decoder(loaded.dequantised(_tensors(loaded)), DecodeOptions(top_k=2)).classes
    assert [(each.class_id, round(each.score, 3)) for each in reported] == [(0, 0.953), (2, 0.5)]


def _tensors(loaded: Model) -> list[np.ndarray]:
    return loaded.invoke(loaded.preprocess(Frame(GREEN, 0, 0.0, 0.0), loaded.buffer()))


def test_a_classifier_sees_the_centre_square_unless_its_file_says_otherwise(
    tmp_path: Path,
) -> None:
    wide = np.full((16, 48, 3), (0, 0, 255), np.uint8)
    wide[:, 16:32] = (0, 255, 0)
    path = write(tmp_path / "m.tflite", colour_classifier(labels=("red", "green", "blue")))
    assert model(path).fit == "crop"
    assert best(model(path), wide) == ("green", 1)
    assert best(model(path, fit="stretch"), wide) == ("red", 0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = f'[model]\nfile = "m.tflite"\nsha256 = "{digest}"\n'
    (tmp_path / "m.toml").write_text(f'{card}fit = "stretch"\n')
    assert best(model(path), wide) == ("red", 0)
    (tmp_path / "m.toml").write_text(f'{card}fit = "zoom"\n')
    with pytest.raises(ModelError, match="fit: expected letterbox, stretch, crop, found 'zoom'"):
        model(path)


def test_a_grey_input_gets_the_brightness_of_the_picture(tmp_path: Path) -> None:
    weights = np.array([[-20.0], [20.0]], np.float32)
    path = write(tmp_path / "m.tflite", colour_classifier(weights, labels=("dark", "bright")))
    assert best(model(path), np.full((16, 16, 3), 255, np.uint8)) == ("bright", 1)
    loaded = model(path)
    staged = loaded.preprocess(Frame(GREEN, 0, 0.0, 0.0), loaded.buffer())
    tensor = np.empty((1, 8, 8, 1), np.float32)
    loaded.fill(staged.image, tensor[0])
    # Green is 0.587 of brightness (ITU-R BT.601); the input wants 0 to 1.
    np.testing.assert_allclose(tensor, 150 / 255, atol=1e-6)
