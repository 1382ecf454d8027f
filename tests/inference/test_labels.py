"""Label files in the forms that exist, their fit to a model, and labels inside a model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from edgecam.core.errors import ModelError
from edgecam.inference import labels
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite import metadata as tflite_metadata

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no model files at {SHARED}")
BUNDLED = Path(__file__).parents[2] / "models" / "posenet_mobilenet_v1_075_int8.tflite"
NO_METADATA = tflite_metadata.Metadata("", "", (), (), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("person\nbicycle\n", ("person", "bicycle")),
        ("???\nperson\n\ncar\n\n\n", ("???", "person", "???", "car")),
        ("0  person\n1  bicycle\n3  motorcycle\n", ("person", "bicycle", "???", "motorcycle")),
        ("0: person\n1: traffic light\n", ("person", "traffic light")),
        ("1 person\n2 bicycle\n", ("???", "person", "bicycle")),
        ("\ufeffperson\r\ndog\r\n", ("person", "dog")),
        ("7 up\n3 musketeers\n", ("7 up", "3 musketeers")),
        (
            "item {\n name: '/m/01g317'\n id: 1\n display_name: 'person'\n}\n"
            'item { id: 3 name: "car" }',
            ("???", "person", "???", "car"),
        ),
        ("names:\n  0: person\n  2: 'traffic light'\nnc: 2\n", ("person", "???", "traffic light")),
        ('nc: 2\nnames:\n- cat # tabby\n- "dog"\n', ("cat", "dog")),
        ("names: [cat, 'it''s', \"a, b\"]\n", ("cat", "it's", "a, b")),
        ("names: ['cat',\n  'dog']\nnc: 2\n", ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ('["cat", "dog"]', ("cat", "dog")),
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ('{"cat": 1, "dog": 0}', ("dog", "cat")),
        ('{"labels": ["Hund", "Katze"], "tfjsVersion": "1.3.1"}', ("Hund", "Katze")),
        ('{"categories": [{"id": 1, "name": "cat"}]}', ("???", "cat")),
        ('{"0": ["n01440764", "tench"]}', ("tench",)),
    ],
)
def test_every_form_of_label_file_is_read(text: str, expected: tuple[str, ...]) -> None:
    assert labels.parse(text.encode(), "labels.txt") == expected


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_in_any_script_are_read(charset: str) -> None:
    found = labels.parse("кошка\ngrößer Hund\n人\n".encode(charset), "labels.txt")
    assert found == ("кошка", "größer Hund", "人")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        ("Füchse".encode("latin-1"), "not UTF-8 text: .*; convert it: iconv"),
        (b"\xff\xfe\x00\xdc", "not UTF-8"),
        (b'{"shape": [1, 2]}', "without names of classes"),
        (b"[]", "without names of classes"),
        (b"{'a': {}}", "without names of classes"),
        (b"names:\nnc: 2\n", "without names of classes"),
        (b"TFL3\0\0", "not text"),
        (b"item { name: 'x' }", "has none for an id: every entry needs an id from 0"),
        ('item { id: "²" name: "x" }'.encode(), "has '²' for an id"),
        (b"item { id: %s name: 'x' }" % (b"9" * 5000), "an id beyond 99999"),
        (b"0 a\n1%s b\n" % (b"1" * 5000), "an id beyond 99999"),
        (b"a" * 501, "a label of 501 characters"),
        (b"a\n" * 100_001, "100001 lines: expected at most 100000"),
        # Time with the square of these would be minutes.
        (b"item{" * 200_000, "a label of 1000000 characters"),
        (b"item{" + b"a" * 1_000_000 + b"}", "has none for an id"),
    ],
)
def test_what_is_no_label_file_is_refused(content: bytes, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        labels.parse(content, "labels.txt")


def test_a_file_that_is_no_list_of_labels_is_not_read_whole() -> None:
    with pytest.raises(ModelError, match="/dev/zero cannot be read: it is larger than 4194304"):
        labels.load(Path("/dev/zero"))


def test_the_given_file_beats_the_sidecar_beats_the_card(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    given, card = tmp_path / "given.txt", tmp_path / "labels.txt"
    given.write_text("given")
    card.write_text("card")
    assert labels.resolve(None, model, None, NO_METADATA) is None
    assert labels.resolve(None, model, card, NO_METADATA) == ("card",)
    (tmp_path / "m_labels.txt").write_text("beside")
    assert labels.resolve(None, model, card, NO_METADATA) == ("beside",)
    assert labels.resolve(given, model, card, NO_METADATA) == ("given",)
    with pytest.raises(ModelError, match="No such file"):
        labels.resolve(tmp_path / "absent.txt", model, None, NO_METADATA)


def test_length_is_checked_with_and_without_background() -> None:
    names = [f"n{i}" for i in range(90)]
    assert labels.fit(names, 90, "it") == tuple(names)
    assert labels.fit(["???", *names], 90, "it") == tuple(names)
    with pytest.raises(ModelError, match="90 entries but it has 80 classes: expected 80, or 81"):
        labels.fit(names, 80, "it")
    assert labels.fit_with_background(names, 91, "it")[:2] == ("background", "n0")
    with pytest.raises(ModelError, match="expected 92, or 91 without"):
        labels.fit_with_background(names, 92, "it")


@needs_shared
def test_labels_come_out_of_the_model_file() -> None:
    model = tflite_file.read(SHARED / "mobilenet_v1_0.25_128_quant.tflite")
    found = tflite_metadata.metadata(model)
    assert found.inputs[0].mean == (127.5,)
    assert found.inputs[0].std == (127.5,)
    assert found.outputs[0].name == "probability"
    inside = labels.resolve(None, None, None, found)
    assert inside == labels.load(SHARED / "imagenet_labels.txt")
    assert len(inside) == 1001


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    model = io.BytesIO(BUNDLED.read_bytes())
    with zipfile.ZipFile(model, "a", compression) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return model.getvalue()


@pytest.mark.parametrize(
    ("members", "compression", "expected"),
    [
        ({f"{n}.txt": bytes(1 << 20) for n in range(17)}, zipfile.ZIP_DEFLATED, "17825792 bytes"),
        ({f"{n}.txt": b"" for n in range(101)}, zipfile.ZIP_STORED, "101 files of 0 bytes"),
        ({"labels.txt": b"person"}, zipfile.ZIP_LZMA, "compressed by method 14"),
    ],
)
def test_packed_files_are_bounded_before_they_are_unpacked(
    members: dict[str, bytes], compression: int, expected: str
) -> None:
    model = tflite_file.read(zipped(members, compression), "m.tflite")
    with pytest.raises(ModelError, match=expected):
        tflite_metadata.metadata(model)


def test_a_packed_directory_beyond_its_bound_is_not_read() -> None:
    model = tflite_file.read(zipped({f"{n:0>200}": b"" for n in range(300)}), "m.tflite")
    assert tflite_metadata.metadata(model).files == {}


@needs_shared
def test_a_model_without_metadata_has_none() -> None:
    model = tflite_file.read(SHARED / "movenet_single_pose_lightning_ptq.tflite")
    assert tflite_metadata.metadata(model) == NO_METADATA


def test_normalisation_that_fits_no_picture_is_refused() -> None:
    def said(mean: tuple[float, ...], std: tuple[float, ...]) -> tflite_metadata.Metadata:
        entry = tflite_metadata.TensorMetadata("image", mean, std, ())
        return tflite_metadata.Metadata("", "", (entry,), (), {})

    assert tflite_metadata.normalization(NO_METADATA) is None
    one = tflite_metadata.normalization(said((127.5,), (2.0,)))
    assert one is not None
    assert (one.mean, one.std) == ((127.5,) * 3, (2.0,) * 3)
    for mean, std in (((1.0, 2.0), (1.0,)), ((0.0,), (0.0,)), ((float("nan"),), (1.0,))):
        with pytest.raises(ModelError, match="expected one or three of each"):
            tflite_metadata.normalization(said(mean, std), "m.tflite")
