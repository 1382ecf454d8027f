"""Runs inside the emulated machine: a JSON line with a command comes in, one with its end goes out.

``{"id": 1, "run": "uname -a", "timeout_s": 10}`` gives ``{"id": 1, "code": 0, "text": "..."}``.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

PORT = "/dev/virtio-ports/edgecam"


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            ["sh", "-c", asked["run"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=asked["timeout_s"],
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        text = (late.stdout or b"").decode("utf-8", "replace")
        return {"id": asked["id"], "code": 124, "text": text[-20000:]}
    text = done.stdout.decode("utf-8", "replace")
    return {"id": asked["id"], "code": done.returncode, "text": text[-20000:]}


def main() -> None:
    with open(PORT, "r+b", buffering=0) as port:
        waiting = b""
        while True:
            waiting += port.read(4096) or b""
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                if line.strip():
                    port.write(json.dumps(answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
