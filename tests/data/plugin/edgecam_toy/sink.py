"""Writes how many things each frame holds, a line a frame."""

from edgecam.sinks import SinkKind
from edgecam_toy.settings import Settings


class Counts:
    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - open until close
        self._lines = 0

    def publish(self, result):
        self._file.write(f"{result.frame.sequence} {len(result.detections)}\n")
        self._lines += 1

    def restart(self, boot_id):
        pass

    def counters(self):
        return {"lines": self._lines}

    def close(self):
        self._file.close()


def open_counts(settings, boot_id, own):
    return Counts(own.lines)


sink = SinkKind("plugins", "edgecam_toy.sink:open_counts", ("plugin",), settings_type=Settings)
