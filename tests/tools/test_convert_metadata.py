"""Metadata that the converter writes is read back, by edgecam and in a runnable model."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization
from edgecam.inference import labels
from edgecam.inference.runtime import find
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.tools.convert import metadata

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
MODEL = SHARED / "posenet_mobilenet_v1_075_353_481_quant.tflite"
NAMES = ("location", "category", "score", "number of detections")


def written(packed: bytes) -> bytes:
    """Return a real model with the metadata in it."""
    if not MODEL.is_file():
        pytest.skip(f"no model at {MODEL}")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(MODEL.read_bytes())
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(packed)
    model.buffers.append(buffer)
    entry.name, entry.buffer = tflite_metadata.BUFFER_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1 << 21)
    builder.Finish(model.Pack(builder), tflite_file.IDENTIFIER)
    return bytes(builder.Output())


def test_what_is_written_is_read_back_from_a_model_that_runs() -> None:
    wanted = Normalization((123.15, 115.9, 103.06), (1.0, 2.0, 4.0))
    packed = metadata.pack("Detector", wanted, "image", NAMES, {1: metadata.VALUE_LABELS})
    names = ("???", "person", "naïve label")
    model = metadata.append_files(written(packed), metadata.label_file(names))
    file = tflite_file.read(model)
    found = tflite_metadata.metadata(file)
    assert found.name == "Detector"
    assert found.inputs[0].name == "image"
    assert found.inputs[0].mean == pytest.approx(wanted.mean)
    assert found.inputs[0].std == wanted.std
    assert tuple(output.name for output in found.outputs) == NAMES
    assert [output.label_files for output in found.outputs] == [(), ("labels.txt",), (), ()]
    assert labels.resolve(None, None, None, found) == names
    interpreter = find().interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.invoke()


def test_the_bytes_are_the_same_every_time_and_small() -> None:
    arguments = ("x", MINUS_ONE_TO_ONE, "image", ("heatmap", "offset_2"))
    assert metadata.pack(*arguments) == metadata.pack(*arguments)
    assert len(metadata.pack(*arguments)) < 1000
    files = metadata.label_file(("a", "b"))
    assert metadata.append_files(b"TFL3", files) == metadata.append_files(b"TFL3", files)
