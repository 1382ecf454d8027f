"""Other PoseNet decoders on the same outputs, for scripts/benchmarks.py; None where absent."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

TFJS = "3.21.0"
NPM_PACKAGES = (
    "@tensorflow-models/posenet@2.2.2",
    f"@tensorflow/tfjs-core@{TFJS}",
    f"@tensorflow/tfjs-converter@{TFJS}",
    f"@tensorflow/tfjs-backend-cpu@{TFJS}",
)
PYPI_PACKAGE = "posenet==0.0.3"
NODE = """
const fs = require('fs');
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-cpu');
const {decodeMultiplePoses} =
    require('@tensorflow-models/posenet/dist/multi_pose/decode_multiple_poses');
const {tensors, limits} = JSON.parse(fs.readFileSync('request.json', 'utf8'));
const [heat, ...rest] = tensors.map(({shape, values}) => tf.tensor3d(values, shape));
tf.setBackend('cpu').then(() => {
  const buffers = [tf.sigmoid(heat), ...rest].map((tensor) => tensor.bufferSync());
  const times = [];
  for (let k = 0; k < 300; k++) {
    const began = process.hrtime.bigint();
    decodeMultiplePoses(...buffers, limits.stride, limits.max_poses, limits.score_threshold,
                        limits.nms_radius_px);
    times.push(Number(process.hrtime.bigint() - began) / 1e6);
  }
  times.sort((a, b) => a - b);
  console.log(times[times.length / 2]);
});
"""


def _ran(command: Sequence[str], folder: Path) -> str | None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{command[0]}: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return None
    return done.stdout


def tensorflow_js(tensors: Sequence[np.ndarray], limits: dict[str, Any]) -> float | None:
    """Median milliseconds of TensorFlow.js' own decoder under Node."""
    if shutil.which("npm") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = [{"shape": t.shape, "values": t.reshape(-1).tolist()} for t in tensors]
        (folder / "request.json").write_text(json.dumps({"tensors": plain, "limits": limits}))
        (folder / "run.js").write_text(NODE)
        if _ran(["npm", "install", "--silent", "--no-audit", *NPM_PACKAGES], folder) is None:
            return None
        answer = _ran(["node", "run.js"], folder)
        return None if answer is None else float(answer.strip().splitlines()[-1])


def posenet_python(tensors: Sequence[np.ndarray], limits: dict[str, Any]) -> float | None:
    """Median milliseconds of posenet-python's decoder; its package is read without TensorFlow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", name]
        if _ran([*install, PYPI_PACKAGE], folder) is None:
            return None
        # What its __init__ imports besides wants TensorFlow.
        package = types.ModuleType("posenet")
        package.__path__ = [str(folder / "posenet")]
        sys.modules["posenet"] = package
        try:
            decoder = importlib.import_module("posenet.decode_multi")
        except ImportError as error:
            print(f"posenet: {error}; pip install scipy", file=sys.stderr)
            return None
    times = []
    for _ in range(50):
        began_s = time.perf_counter()
        scores = 1.0 / (1.0 + np.exp(-tensors[0]))
        decoder.decode_multiple_poses(
            *(scores, tensors[1], tensors[2], tensors[3]),
            output_stride=limits["stride"],
            max_pose_detections=limits["max_poses"],
            score_threshold=limits["score_threshold"],
            nms_radius=limits["nms_radius_px"],
        )
        times.append((time.perf_counter() - began_s) * 1e3)
    return median(times)
