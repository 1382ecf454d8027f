"""MediaPipe's pose of one person over the pictures of request.json: see benchmark_peer_runs.py.

Argument: pictures or film. Runs in an environment of its own, without edgecam.
"""

import json
import sys
import time
import types
from pathlib import Path

import numpy as np

# What MediaPipe draws with; here it draws nothing.
for name in ("matplotlib", "matplotlib.pyplot"):
    sys.modules[name] = types.ModuleType(name)

import mediapipe  # noqa: E402

# MediaPipe's number of each of COCO's keypoints.
BODY = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


def main(kind: str) -> None:
    """Write answer.json."""
    request = json.loads(Path("request.json").read_text())
    answer = []
    still = kind == "pictures"
    with mediapipe.solutions.pose.Pose(
        static_image_mode=still, model_complexity=1, min_detection_confidence=0.05
    ) as pose:
        for picture in request["pictures"]:
            width, height = picture["width"], picture["height"]
            pixels = np.fromfile(picture["file"], np.uint8).reshape(height, width, 3)
            began_s, cpu_s = time.perf_counter(), time.process_time()
            found = pose.process(pixels).pose_landmarks
            ms, cpu_ms = (time.perf_counter() - began_s) * 1e3, (time.process_time() - cpu_s) * 1e3
            people = []
            if found is not None:
                points = [found.landmark[place] for place in BODY]
                rows = [[p.x * width, p.y * height, p.visibility] for p in points]
                people = [{"score": float(np.mean([p.visibility for p in points]))}]
                people[0]["keypoints"] = rows
            answer.append({"ms": ms, "cpu_ms": cpu_ms, "poses": people})
    Path("answer.json").write_text(json.dumps(answer))


main(sys.argv[1])
