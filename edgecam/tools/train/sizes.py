"""What a head costs: three classifiers on one MobileNet V1, in every form that is written."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecam.inference import runtime
from edgecam.inference.model import Model
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert import calibration, tfjs_folder
from edgecam.tools.convert.quantize import quantize
from edgecam.tools.train import classes, heads, mobilenet_v1
from edgecam.tools.train.coco import Floats

_SIZE, _ALPHA, _CLASSES, _HIDDEN = (224, 224), 0.25, 3, 100
# Name -> whether the map is averaged, and how wide the dense layer before the last one is.
_HEADS = {
    f"flatten, dense({_HIDDEN})": (False, _HIDDEN),
    f"pooling, dense({_HIDDEN})": (True, _HIDDEN),
    "pooling alone": (True, None),
}
_RUNS = 20
_PICTURES = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One head in one form; ``invoke_ms``: median with one thread, None for TensorFlow.js."""

    head: str
    form: str
    size_bytes: int
    invoke_ms: float | None


def rows() -> Iterator[Row]:
    """Yield every head, untrained, as float32, float16, int8 and for TensorFlow.js in uint8.

    MobileNet V1 of width 0.25 at 224x224, three classes. int8 is calibrated on the bundled clip:
    what it computes does not matter, how large and fast it is does not depend on it.

    Raises:
        ConvertError: TensorFlow or litert-quantizer is not installed.
    """
    for head, (pooled, hidden) in _HEADS.items():
        backbone = mobilenet_v1.build(_ALPHA, _SIZE)
        model = heads.classifier(backbone, _CLASSES, pooled=pooled, hidden=hidden)
        labels = [f"class {number}" for number in range(_CLASSES)]
        whole = read(classes.to_tflite(model, _SIZE, labels, head), head)
        yield _row(head, "float32", whole.data)
        yield _row(head, "float16", quantize(whole, "fp16", ()))
        yield _row(head, "int8", quantize(whole, "int8", _pictures(whole)))
        with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
            path = Path(folder) / "web"
            tfjs_folder.write(whole.data, head, "uint8", path)
            size_bytes = sum(file.stat().st_size for file in path.iterdir())
        yield Row(head, "TensorFlow.js, uint8", size_bytes, None)


def _pictures(file: ModelFile) -> Iterator[Floats]:
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(file.data)
        model = Model(ModelSettings(path=str(path)), InferenceSettings(delegate="cpu", probe=False))
    yield from calibration.tensors(model, calibration.pictures(None, _PICTURES))


def _row(head: str, form: str, data: bytes) -> Row:
    interpreter = runtime.find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    interpreter.set_tensor(image["index"], np.zeros(image["shape"], image["dtype"]))
    times_ms = []
    for _ in range(_RUNS):
        started_s = time.perf_counter()
        interpreter.invoke()
        times_ms.append((time.perf_counter() - started_s) * 1e3)
    return Row(head, form, len(data), statistics.median(times_ms))
