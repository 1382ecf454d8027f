"""Several cameras in one process: real models and clips, sources that come and go."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.result import Result
from edgecam.daemon.build import Loaded
from edgecam.daemon.cameras import Cameras, load_all
from edgecam.daemon.run import run
from edgecam.settings.house import House
from edgecam.settings.load import load_house

FRAMES = 6
HEAD = 'accuracy = "fast"\n'
LIVE = '{url = "demo", realtime = true, loop = true}'
FRONT_PX, HALL_PX = 768, 576
FRONT, HALL = f"source = {LIVE}", f"source = {LIVE[:-1]}, rotate = 90}}"


def house_of(folder: Path, cameras: Mapping[str, str], head: str = HEAD) -> House:
    """``cameras``: what each says besides its name."""
    tables = (f'[[camera]]\nname = "{name}"\n{text}\n' for name, text in cameras.items())
    path = folder / "house.toml"
    path.write_text(head + "".join(tables))
    return load_house([path], {}, {})


def lines_of(folder: Path, name: str) -> list[bytes]:
    return (folder / f"{name}.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("accuracy", ["fast", "balanced"])
def test_recordings_together_give_the_bytes_that_each_gives_alone(
    tmp_path: Path, accuracy: str
) -> None:
    head = f'accuracy = "{accuracy}"\nmax_frames = {FRAMES}\nrefine_max_people = 1\n'
    # The second has another size, and its frames are looked at at another rate.
    cameras = {
        "front": f'source = "demo"\noutput = {{jsonl = "{tmp_path}/front.jsonl"}}',
        "hall": 'source = {url = "demo", rotate = 90}\nrate_hz = 5\n'
        f'output = {{jsonl = "{tmp_path}/hall.jsonl"}}',
    }
    run(house_of(tmp_path, cameras, head), threading.Event())
    together = {name: lines_of(tmp_path, name) for name in cameras}
    for name, text in cameras.items():
        run(house_of(tmp_path, {name: text}, head), threading.Event())
        assert lines_of(tmp_path, name) == together[name]
    sequences = [json.loads(line)["sequence"] for line in together["front"]]
    assert sequences == list(range(FRAMES))
    assert 0 < len(together["hall"]) < FRAMES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'source = "demo"\nboost_when = ["persn"]',
            "camera hall: boost_when: expected fall or what its models find, found 'persn' "
            "(did you mean 'person'?)",
        ),
        (
            'source = "mqtt://h/edgecam/+/frame"',
            "camera hall: source.url: expected one camera, found the pictures of several",
        ),
    ],
)
def test_what_only_models_and_sources_know_is_checked_before_anything_opens(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SettingsError) as found:
        load_all(house_of(tmp_path, {"front": FRONT, "hall": text}))
    assert str(found.value).startswith(words)


class Seen:
    """A sink that counts the results of each camera by its frame's width."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.widths: list[int] = []

    def publish(self, result: Result) -> None:
        with self.changed:
            self.widths.append(result.frame.width_px)
            self.changed.notify_all()

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        pass

    def wait_for_more(self, width_px: int, number: int = 2) -> None:
        with self.changed:
            wanted = self.widths.count(width_px) + number
            assert self.changed.wait_for(lambda: self.widths.count(width_px) >= wanted, 120.0)


def nothing_refused(error: EdgecamError, what: str) -> None:
    raise AssertionError(f"{what}: {error}")


@contextmanager
def running(house: House, seen: Seen, loaded: Loaded | None = None) -> Iterator[Cameras]:
    cameras = Cameras(house, load_all(house, loaded), threading.Event(), (seen,))
    try:
        cameras.start()
        yield cameras
    finally:
        cameras.close()


def test_a_camera_that_is_absent_is_waited_for_while_the_other_runs(tmp_path: Path) -> None:
    seen = Seen()
    house = house_of(tmp_path, {"front": FRONT, "hall": 'source = "http://127.0.0.1:9/"'})
    with running(house, seen) as cameras:
        seen.wait_for_more(FRONT_PX)
        state = cameras.sessions["hall"].source.status()
        assert state.state == "offline"
        assert "refuses connections" in str(state.reason)
        assert not cameras.wait(0.0)


def test_a_reload_adds_changes_and_removes_one_camera_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    seen, loaded = Seen(), Loaded()
    house = house_of(tmp_path, {"front": FRONT, "hall": HALL})
    with running(house, seen, loaded) as cameras:
        front = cameras.sessions["front"]
        seen.wait_for_more(FRONT_PX)
        hall = cameras.sessions["hall"]
        for hall_text, is_same in ((HALL, True), (f"{HALL}\nrate_hz = 20", False)):
            other = house_of(tmp_path, {"front": FRONT, "hall": hall_text, "yard": HALL})
            cameras.reopen(other, load_all(other, loaded), nothing_refused)
            assert (cameras.sessions["hall"] is hall) == is_same
            assert cameras.sessions.keys() == {"front", "hall", "yard"}
            assert cameras.sessions["front"] is front
            seen.wait_for_more(FRONT_PX)
            seen.wait_for_more(HALL_PX)
        two = house_of(tmp_path, {"front": FRONT, "yard": HALL})
        cameras.reopen(two, load_all(two, loaded), nothing_refused)
        assert cameras.sessions.keys() == {"front", "yard"}
        assert cameras.sessions["front"] is front
        seen.wait_for_more(FRONT_PX)
    # However many cameras came and went, one model was loaded, once.
    assert len(loaded) == 1


def test_a_camera_that_cannot_be_opened_at_a_reload_is_refused_and_the_others_run_on(
    tmp_path: Path,
) -> None:
    seen, loaded = Seen(), Loaded()
    house = house_of(tmp_path, {"front": FRONT, "hall": HALL})
    refused: list[str] = []
    with running(house, seen, loaded) as cameras:
        other = house_of(tmp_path, {"front": FRONT, "hall": HALL, "yard": 'source = "no.mp4"'})
        cameras.reopen(
            other, load_all(other, loaded), lambda error, what: refused.append(f"{what}: {error}")
        )
        assert len(refused) == 1
        assert "does not start camera yard" in refused[0]
        assert "no.mp4" in refused[0]
        assert cameras.sessions.keys() == {"front", "hall"}
        seen.wait_for_more(FRONT_PX)


def test_one_camera_becomes_two_and_one_again(tmp_path: Path) -> None:
    seen, loaded = Seen(), Loaded()
    one = house_of(tmp_path, {"front": FRONT})
    with running(one, seen, loaded) as cameras:
        assert not cameras.has_several
        two = house_of(tmp_path, {"front": FRONT, "hall": HALL})
        cameras.reopen(two, load_all(two, loaded), nothing_refused)
        seen.wait_for_more(HALL_PX)
        cameras.reopen(one, load_all(one, loaded), nothing_refused)
        assert cameras.sessions.keys() == {"front"}
        seen.wait_for_more(FRONT_PX)
