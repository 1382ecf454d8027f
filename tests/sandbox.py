"""A machine for the documentation's commands: a home, a camera, a broker, and the files named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import gestures
from brokers import Mosquitto, Subscriber, free_port, wait_until
from daemons import Supervisor
from documented import blocks
from programs import CLIP, ROOT, SHARED
from servers.files import FileServer

from tests.servers import Server

BUNDLED = ROOT / "models"
VECTORS = ROOT / "tests" / "data" / "posenet"
PHOTOGRAPHS = ROOT / "tests" / "data" / "documents"
POSENET = BUNDLED / "posenet_mobilenet_v1_075_fp16.tflite"
MODELS = {
    "posenet.tflite": "posenet_mobilenet_v1_075_fp16.tflite",
    "float.tflite": "posenet_mobilenet_v1_075_fp16.tflite",
    "ssd.tflite": "ssdlite_mobilenet_v2_pedestrian_int8.tflite",
    "hed_vgg16.tflite": "hed_mobilenet_v2_documents_int8.tflite",
}


class Sandbox:
    """Runs commands in ``folder``; what they name lies there, or is put there when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.web_port = free_port()
        self.broker = Mosquitto(folder)
        self.broker.start()
        self.camera = Server("mjpeg.py")
        self.camera.tell("good")
        self.camera_url = f"http://127.0.0.1:{self.camera.port}/stream"
        self.heard = Subscriber(self.broker.port).ready()
        self.variables: dict[str, str] = {}
        self._open = ExitStack()
        for name in ("home", "bin", "root"):
            (folder / name).mkdir()
        program = folder / "bin" / "edgecam"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgecam "$@"\n')
        program.chmod(0o755)
        (folder / "clip.mp4").symlink_to(CLIP)
        (folder / "tensors.npz").symlink_to(VECTORS / "people_stride16.npz")
        for name, picture in (("letter", "printout"), ("receipt", "contract")):
            (folder / f"{name}.jpg").symlink_to(PHOTOGRAPHS / f"{picture}.jpg")
        for name, model in MODELS.items():
            shutil.copy(BUNDLED / model, folder / name)
        self._settings()

    def _settings(self) -> None:
        """The pages' own settings and zones, with this camera and broker."""
        (front,) = (
            block for block in blocks("toml") if block.startswith("# /etc/edgecam/front.toml")
        )
        zones = next(block for block in blocks("toml") if "dwell_s = 30" in block)
        password = self.folder / "password"
        password.write_text("secret\n")
        for there, here in (
            ("rtsp://camera.local/stream", self.camera_url),
            ("mqtts://broker.local", self.broker.url),
            ("/etc/edgecam/password", str(password)),
        ):
            assert there in front, front
            front = front.replace(there, here)
        (self.folder / "front.toml").write_text(front)
        (self.folder / "other.toml").write_text(zones)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGECAM_")}
        places = (self.folder / "bin", Path(sys.executable).parent, kept["PATH"])
        return {
            **kept,
            "PATH": os.pathsep.join(map(str, places)),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder / "home"),
            "XDG_RUNTIME_DIR": str(self.folder / "home"),
            "XDG_DATA_HOME": str(self.folder / "home"),
            "EDGECAM_CACHE_DIR": str(self.folder / "cache"),
            **self.variables,
        }

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env={**self.environment(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, command: str, cwd: Path | None = None, timeout_s: float = 240.0
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=cwd or self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ready(self) -> bool:
        """Whether what ``run_until`` has started says that it is."""
        return bool(self._supervisor.of("READY=1"))

    def run_until(self, command: str, seen: Callable[[], object]) -> None:
        """Start what does not end by itself; once that is ``seen``, end it as its user does."""
        place = self.folder / f"notify{time.monotonic_ns()}"
        place.mkdir()
        self._supervisor = Supervisor(place)
        process = self.start(command, NOTIFY_SOCKET=str(self._supervisor.path))
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            ended = wait_until(lambda: seen() or process.poll() is not None, 60)
            assert ended, "".join(output)
            assert process.poll() is None, "".join(output)
            process.terminate()
            assert process.wait(120) == 0, "".join(output)
        finally:
            process.kill()
            process.wait()
            self._supervisor.close()

    def pictures(self) -> None:
        """``pictures/``: every fifth frame of the clip."""
        shutil.rmtree(self.folder / "pictures", ignore_errors=True)
        (self.folder / "pictures").mkdir()
        cut = "ffmpeg -loglevel error -y -i clip.mp4 -vf 'select=not(mod(n\\,5))' -vsync vfr"
        assert self.run(f"{cut} pictures/%02d.png").returncode == 0

    def gestures(self) -> None:
        """``pictures/``: a folder for each label, as a lesson has it."""
        shutil.rmtree(self.folder / "pictures", ignore_errors=True)
        gestures.write(self.folder / "pictures", 20, seed=1)

    def pages(self) -> None:
        """``pages/``: as many rendered ones as quantising wants to look at, and no more."""
        made = self.run("edgecam train pages --count 4 pages/")
        assert made.returncode == 0, made.stderr

    def taught(self) -> None:
        """``gestures.tflite``: what they teach."""
        self.gestures()
        made = self.run("edgecam teach pictures/ -o gestures.tflite")
        assert made.returncode == 0, made.stderr

    def tensorflow_js(self) -> None:
        """``model.json``: a bundled PoseNet as the web has it."""
        made = self.run(f"rm -rf web && edgecam convert {POSENET} --to tfjs -o web && cp web/* .")
        assert made.returncode == 0, made.stderr

    def coral(self) -> bool:
        """Coral's PoseNet with its decoder, and pictures with annotations, where they are."""
        decoder = "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
        if not SHARED.is_dir():
            return False
        shutil.copy(SHARED / "models" / decoder, self.folder / "posenet_quant_decoder.tflite")
        return True

    def recording(self) -> None:
        """What the flight recorder kept of a person who appeared, named as in the README."""
        target = self.folder / "000042-20260301T181502Z-1f2e3d4c-7-fall.recording.gz"
        if target.exists():
            return
        keep = "EDGECAM_RECORDER_ENABLED=true EDGECAM_RECORDER_DIRECTORY=kept"
        made = self.run(f"{keep} edgecam --model posenet --source clip.mp4 --jsonl /dev/null")
        assert made.returncode == 0, made.stderr
        kept = sorted((self.folder / "kept").glob("*.recording.gz"))
        assert kept, made.stderr
        shutil.copy(kept[0], target)

    def published(self, name: str) -> None:
        """A publisher of its own for a model that can be pulled; the program is a copy then."""
        self.tensorflow_js()
        copy = self.folder / "copy"
        shutil.copytree(ROOT / "edgecam", copy / "edgecam")
        shutil.copytree(BUNDLED, copy / "models")
        manifest = copy / "models" / "published" / f"{name}.toml"
        text = manifest.read_text("utf-8")
        (url,) = re.findall(r'^url = "(.*)"$', text, re.MULTILINE)
        path = "/" + url.rpartition("/")[2]
        shards = {f"/{file.name}": file.read_bytes() for file in (self.folder / "web").iterdir()}
        server = self._open.enter_context(FileServer({**shards, path: shards["/model.json"]}))
        manifest.write_text(text.replace(url, server.url + path))
        self.variables["PYTHONPATH"] = str(copy)

    def close(self) -> None:
        self._open.close()
        self.heard.close()
        self.broker.kill()
        self.camera.__exit__()
