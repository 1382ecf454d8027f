"""The live page beside a recording: nothing is encoded unseen, and no result is lost or changed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from brokers import free_port, is_listening, wait_until
from programs import CLIP
from viewers import Watcher

from edgecam.daemon.run import run
from edgecam.messages.telemetry import Telemetry
from edgecam.settings.load import load
from edgecam.sinks.render import snapshot

FRAMES = 60


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread for each JPEG that OpenCV really makes."""
    threads: list[str] = []
    real = snapshot.cv2.imencode

    def imencode(*arguments: object) -> object:
        threads.append(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(snapshot.cv2, "imencode", imencode)
    return threads


def replay(folder: Path, listen: str | None = None) -> tuple[list[bytes], Telemetry]:
    """The lines that a run over the clip wrote, and its last report."""
    lines = folder / f"lines-{listen}"
    given = {"model.path": ["posenet"], "source.url": str(CLIP), "output.jsonl": str(lines)}
    settings = load(None, {}, {**given, "web.listen": listen, "max_frames": FRAMES})
    last = run(settings, threading.Event())
    return lines.read_bytes().splitlines(), last


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a run that has no page."""
    lines, _ = replay(tmp_path_factory.mktemp("without"))
    assert len(lines) == FRAMES
    return lines


def test_a_page_without_viewers_changes_nothing_and_encodes_nothing(
    without: list[bytes], tmp_path: Path, encoding: list[str]
) -> None:
    beside, last = replay(tmp_path, "127.0.0.1:0")
    assert beside == without
    assert (last.counters["web_viewers"], last.counters["web_jpegs"], encoding) == (0, 0, [])


def test_a_viewer_changes_no_result_and_the_pictures_are_made_beside_the_pipeline(
    without: list[bytes], tmp_path: Path, encoding: list[str]
) -> None:
    port, pictures = free_port(), []

    def watch() -> None:
        assert wait_until(lambda: is_listening(port), 30)
        with Watcher(port) as watcher:
            watcher.ended.wait(60)
            pictures.append(watcher.pictures)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    beside, last = replay(tmp_path, f"127.0.0.1:{port}")
    watching.join(60.0)
    assert beside == without
    # The last one may be made while the run ends.
    assert 0 <= last.counters["web_jpegs"] - len(encoding) <= 1
    assert encoding
    assert {name.rpartition("_")[0] for name in encoding} == {"web-jpeg"}
    assert 0 < pictures[0] <= len(encoding)
