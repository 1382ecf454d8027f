"""What decoding costs beside the network's invoke in the same run, for benchmark_bars.py.

The networks of YOLO and MultiPose are not edgecam's to hand on: a network that costs less takes
their place, so that the real share is below the figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bars_code import median_cpu_ms

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference import catalog, decoders
from edgecam.inference.decoders import FamilyContext
from edgecam.inference.decoders.movenet_grid import MULTIPLE
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings

FLOAT = np.dtype(np.float32)
LOW = DecodeOptions(score_threshold=0.05)
PEOPLE = 6
# Invokes of PoseNet at its own size, as measured with the converted network.
MULTIPOSE_COST = 1.4


def _network(name: str) -> Model:
    return Model(ModelSettings(path=name), InferenceSettings(threads=1, probe=False))


def _share(network: Model, decode: object) -> float:
    """Processor time of decoding as a share of the network's own invoke; they take turns."""
    assert callable(decode)
    shares = []
    for _ in range(5):
        invoke_ms = median_cpu_ms(network.interpreter.invoke, 9)
        shares.append(median_cpu_ms(decode, 31) / invoke_ms)
    return sorted(shares)[len(shares) // 2]


def _decoder(side: int, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> decoders.Decoder:
    image = TensorInfo(0, "image", (1, side, side, 3), FLOAT)
    outputs = [TensorInfo(n, name, shape, FLOAT) for n, (name, shape) in enumerate(shapes, 1)]
    return decoders.recognise([image], outputs, FamilyContext())


def nanodet() -> float:
    """The bundled detector on a frame of the bundled clip: so low a threshold finds 100 boxes."""
    model = _network("nanodet")
    capture = cv2.VideoCapture(str(catalog.clip()))
    frame = Frame(np.asarray(capture.read()[1], np.uint8), 0, 0.0, 0.0)
    tensors = model.invoke(model.preprocess(frame, model.buffer()))
    return _share(model, lambda: model.find(tensors, LOW))


def yolo() -> float:
    """YOLOv8's output at 416x416 with 100 things, against NanoDet's invoke at that size."""
    chance = np.random.default_rng(5)
    rows = chance.beta(0.2, 80, (84, 3549)).astype(np.float32)
    rows[:2] = chance.uniform(0, 1, (2, 3549))
    rows[2:4] = chance.uniform(0.02, 0.3, (2, 3549))
    things = chance.integers(0, 3549, 100)
    rows[chance.integers(4, 84, 100), things] = chance.uniform(0.3, 0.9, 100)
    decoder = _decoder(416, [("Identity", (1, 84, 3549))])
    options = DecodeOptions(score_threshold=0.25)
    return _share(_network("nanodet"), lambda: decoder([rows[None]], options))


def multipose() -> float:
    """Six people in the heads of MultiPose at 256x256, against what its network costs."""
    chance = np.random.default_rng(6)
    tensors: dict[str, Tensor] = {
        name: chance.normal(0, 1, (1, 64, 64, depth)).astype(np.float32)
        for name, depth in MULTIPLE.items()
    }
    tensors["center"] -= 8.0
    tensors["kpt_heatmap"] -= 6.0
    for number in range(PEOPLE):
        y, x = 20 + 12 * (number % 3), 12 + 20 * (number // 3)
        tensors["center"][0, y, x] = 3.0
        tensors["box_scale"][0, y, x] = (36.0, 16.0)
        tensors["kpt_heatmap"][0, y - 6 : y + 6, x - 4 : x + 4] = 2.0
    decoder = _decoder(256, [(name, values.shape) for name, values in tensors.items()])
    arrays = list(tensors.values())
    taken = [arrays[place] for place in decoder.outputs]
    options = DecodeOptions(score_threshold=0.1, max_poses=PEOPLE, min_pose_score=0.05)
    found = len(decoder(taken, options).poses)
    assert found == PEOPLE, f"expected six people, found {found}"
    return _share(_network("posenet"), lambda: decoder(taken, options)) / MULTIPOSE_COST
