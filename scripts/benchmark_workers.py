"""What a worker behind a broker costs: processor time and memory of each who takes part.

Run by scripts/bench-many workers. Thin cameras publish the pictures of the clip as fast as one
worker can well look at; a mosquitto with its default limits hands them on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from benchmark_house import CLIP, ROOT, WARM_FRAMES, WARM_LIMIT_S, cpu_s, memory_mb
from benchmark_many import mosquitto

RATE_HZ = 5.0
WIDTH_PX = 640
QUALITY = 80


class _Lines(threading.Thread):
    """Counts the lines of a pipe, so that it never fills."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe, self.number = pipe, 0
        self.start()

    def run(self) -> None:
        for _ in self._pipe:
            self.number += 1

    def wait(self, number: int, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while self.number < number:
            if time.monotonic() > until_s:
                raise SystemExit("bench-many: the worker gives no results")
            time.sleep(0.05)


def picture_kb() -> float:
    """Mean size of the clip's pictures as thin cameras send them."""
    from edgecam.core.opencv import cv2

    capture, sizes = cv2.VideoCapture(str(CLIP)), []
    while (read := capture.read())[0]:
        image = read[1]
        height = round(image.shape[0] * WIDTH_PX / image.shape[1])
        small = cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        sizes.append(len(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]))
    return sum(sizes) / len(sizes) / 1e3


def workers(number: int, seconds: float, model: str) -> dict[str, Any]:
    """``number`` thin cameras and one worker on one broker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, broker = stack.enter_context(mosquitto(folder))
        url = f"mqtt://127.0.0.1:{port}"

        def started(*arguments: object, pipe: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "edgecam", *map(str, arguments), "--broker", url]
            process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, cwd=ROOT)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        topic = f"{url}/edgecam/+/frame"
        worker = started(
            *("--model", model, "--name", "worker", "--source", topic, "--jsonl", "-"),
            pipe=subprocess.PIPE,
        )
        assert worker.stdout is not None
        lines = _Lines(worker.stdout)
        thin = [
            started(
                *("frames", "--source", CLIP, "--realtime", "--loop", "--rate-hz", RATE_HZ),
                *("--name", f"camera{each}", "--width", WIDTH_PX, "--quality", QUALITY),
            )
            for each in range(number)
        ]
        lines.wait(WARM_FRAMES * number, WARM_LIMIT_S)
        pids = {"worker": [worker.pid], "broker": [broker], "camera": [each.pid for each in thin]}
        before = {who: sum(map(cpu_s, all_of)) for who, all_of in pids.items()}
        count = lines.number
        time.sleep(seconds)
        pictures = lines.number - count
        if not pictures:
            raise SystemExit("bench-many: the worker gives no results")
        cost_ms = {
            f"{who}_ms": round((sum(map(cpu_s, all_of)) - before[who]) / pictures * 1e3, 3)
            for who, all_of in pids.items()
        }
        return {
            "number": number,
            "model": model,
            "pictures": pictures,
            **cost_ms,
            "worker_mb": round(memory_mb(worker.pid), 1),
            "camera_mb": round(memory_mb(thin[0].pid), 1),
            "broker_mb": round(memory_mb(broker), 1),
            "picture_kb": round(picture_kb(), 1),
        }


if __name__ == "__main__":
    print(json.dumps(workers(4, 10.0, "posenet"), indent=1))
