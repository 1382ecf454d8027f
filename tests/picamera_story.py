"""The real picamera2 with its own threads and job queue, above a libcamera that is played here.

    python picamera_story.py FOLDER silent|broken

FOLDER holds the package ``picamera2``. The camera falls silent, or refuses a buffer, which ends
picamera2's own thread; after a while it is well again. Prints what a source made of it, as JSON.
Played are libcamera, the packages that picamera2 imports and does not need here, and its ways to
configure a camera, to map a buffer, and to draw.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import types
from typing import Any
from unittest.mock import MagicMock

import numpy as np

FOREIGN = (
    "libcamera libcamera.controls PIL PIL.Image piexif pidng pidng.core pidng.camdefs simplejpeg "
    "videodev2 av prctl jsonschema pykms tqdm"
)
OWN = (
    "encoders outputs allocators devices configuration sensor_format controls formats utils "
    "platform converters remote dma_heap"
)


def import_real(folder: str) -> Any:
    """The module ``picamera2.picamera2``, without what the package's own ``__init__`` imports."""
    for name in FOREIGN.split():
        sys.modules[name] = MagicMock()
    sys.modules["libcamera"].controls = sys.modules["libcamera.controls"]
    package = types.ModuleType("picamera2")
    package.__path__ = [os.path.join(folder, "picamera2")]
    sys.modules["picamera2"] = package
    for name in OWN.split():
        sys.modules[f"picamera2.{name}"] = MagicMock()
    previews = types.ModuleType("picamera2.previews")
    previews.__path__ = [os.path.join(folder, "picamera2", "previews")]
    for name in ("DrmPreview", "QtGlPreview", "QtPreview", "QtGlPreviewDirect"):
        setattr(previews, name, MagicMock())
    sys.modules["picamera2.previews"] = previews
    from picamera2.previews.null_preview import NullPreview

    previews.NullPreview = NullPreview
    import picamera2.picamera2 as module

    return module


class Libcamera:
    """One camera that completes requests at 50 Hz for as long as it ``delivers``."""

    def __init__(self, module: Any) -> None:
        self.delivers, self.refuses = True, False
        self.started = self.stopped = self.released = 0
        self.cameras = [self]
        self.event_fd, self._write = os.pipe2(os.O_NONBLOCK)
        self._status = module.libcamera.Request.Status.Complete
        self._success = module.libcamera.FrameMetadata.Status.Success
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(0.02)
            if self.delivers and self.started > self.stopped:
                os.write(self._write, b"\0")

    def get_ready_requests(self) -> list[Any]:
        try:
            ready = len(os.read(self.event_fd, 4096))
        except BlockingIOError:
            return []
        return [self._request() for _ in range(min(ready, 1))]

    def _request(self) -> Any:
        buffer = MagicMock()
        buffer.metadata.status = self._success
        return MagicMock(status=self._status, cookie=0, buffers={0: buffer})

    def start(self, controls: object) -> None:
        del controls
        self.started += 1

    def queue_request(self, request: object) -> None:
        del request
        if self.refuses:
            raise OSError("no such device")

    def stop(self) -> None:
        self.stopped += 1

    def release(self) -> None:
        self.released += 1


def real_class(module: Any, camera: Libcamera) -> Any:
    module.libcamera.CameraManager.singleton = lambda: camera
    module.CompletedRequest.make_array = lambda *_: np.zeros((480, 640, 3), np.uint8)

    class Real(module.Picamera2):  # type: ignore[name-defined, misc]
        """Its threads, queue, start, capture, stop and close are those of Picamera2."""

        sensor_modes = ()

        def _open_camera(self) -> None:
            self.camera, self.is_open = camera, True

        def create_video_configuration(self, **_: object) -> dict[str, Any]:
            return {"use_case": "video", "display": None}

        create_preview_configuration = create_still_configuration = create_video_configuration

        def configure(self, configuration: dict[str, Any]) -> None:
            self.camera_config, self._max_queue_len = configuration, 1
            self.stream_map = {}

        def _make_requests(self) -> list[object]:
            return []

        @staticmethod
        def global_camera_info() -> list[dict[str, int]]:
            return [{"Num": 0}]

    return Real


def main() -> None:
    module = import_real(sys.argv[1])
    camera = Libcamera(module)
    from edgecam.settings.schema import SourceSettings
    from edgecam.sources.live import LiveSource
    from edgecam.sources.picamera import PicameraEndpoint

    settings = SourceSettings(
        url="picamera", wait=True, read_timeout_s=0.5, backoff_min_s=0.2, backoff_max_s=0.2
    )
    endpoint = PicameraEndpoint(real_class(module, camera), 0, settings)
    source = LiveSource(endpoint, settings)
    seen = [0]

    def drain() -> None:
        for _ in source.frames():
            seen[0] += 1

    threading.Thread(target=drain, daemon=True).start()

    def wait_for(what: str, condition: Any) -> None:
        end_s = time.monotonic() + 40
        while not condition():
            if time.monotonic() > end_s:
                print(json.dumps({"never": what, "status": str(source.status())}), flush=True)
                os._exit(1)
            time.sleep(0.02)

    wait_for("pictures", lambda: seen[0] > 5)
    camera.delivers, camera.refuses = sys.argv[2] != "silent", sys.argv[2] == "broken"
    # Closed and opened again while it gives nothing, more than once.
    wait_for("closed twice", lambda: camera.released >= 2)
    reason = source.status().reason
    camera.delivers, camera.refuses = True, False
    before = seen[0]
    wait_for("pictures again", lambda: seen[0] > before + 5)
    state = source.status().state
    source.close()
    wait_for("the end", lambda: camera.released == camera.started == camera.stopped)
    reported = {"reason": reason, "state": state, "faults": dict(source.status().faults)}
    print(json.dumps(reported), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
