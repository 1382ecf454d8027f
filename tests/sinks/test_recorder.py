"""The flight recorder: what it keeps, when it writes, and that its files tell the same events."""

from __future__ import annotations

import gzip
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from brokers import wait_until
from programs import CLIP, edgecam, error_line
from skeletons import person, waving

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.checkpoint import Checkpoint, check_shapes, plain, rebuilt
from edgecam.core.frame import Frame
from edgecam.core.places import obstacle
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.settings.recorder import RecorderSettings
from edgecam.settings.scene import LineSettings, ZoneSettings
from edgecam.settings.schema import Settings
from edgecam.sinks.recorder import file as recording_file
from edgecam.sinks.recorder.file import SUFFIX, RecordingError, read
from edgecam.sinks.recorder.folder import Folder, place
from edgecam.sinks.recorder.recorder import MAX_SPAN_S, Recorder
from edgecam.sinks.recorder.replay import results

IMAGE = np.zeros((480, 640, 3), np.uint8)
EVERYWHERE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
ZONE = ZoneSettings(name="room", polygon=EVERYWHERE, dwell_s=4.0)
DOOR = LineSettings(name="door", start=(0.5, 0.0), end=(0.5, 1.0))
RATE_HZ = 10.0


def settings(folder: Path, **recorder: object) -> Settings:
    about = {"enabled": True, "directory": str(folder), "before_s": 2.0, "after_s": 1.0}
    section = msgspec.convert({**about, **recorder}, RecorderSettings)
    return Settings(zone=(ZONE,), line=(DOOR,), recorder=section)


def seen(number: int, people: Sequence[Pose]) -> Result:
    time_s = number / RATE_HZ
    car = Detection("car", 2, 0.5, Box(1.0, 2.0, 50.0, 60.0))
    frame = Frame(IMAGE, number, 100.0 + time_s, 1e9 + time_s)
    return Result(frame, {"posenet": Decoded(poses=tuple(people), detections=(car,))})


def street(frames: int = 300) -> Iterator[Result]:
    """One who waves and walks through, and one who sits down, seen through noise."""
    random = np.random.default_rng(0)
    for number in range(frames):
        time_s = number / RATE_HZ
        walker = person(x=100.0 + 25.0 * time_s, moved=waving(time_s, 1.2))
        sitter = person(x=560.0, legs="sitting" if time_s > 4.0 else "standing")
        shaken = (
            Pose(pose.score, pose.xy + random.normal(0.0, 2.0, (17, 2)), pose.scores)
            for pose in (walker, sitter)
        )
        yield seen(number, [pose for pose in shaken if random.uniform() > 0.1])


class Flight:
    """A recorder behind an analysis, as in a session."""

    def __init__(self, whole: Settings) -> None:
        self.analysis = Analysis(whole, finds_poses=True)
        self.recorder = Recorder(whole, "b00t", self.analysis, live=False)
        self.folder = Path(whole.recorder.directory or "")

    def see(self, result: Result) -> Result:
        reported = self.analysis(result)
        self.recorder.publish(reported)
        return reported

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*")) if self.folder.is_dir() else []

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.recorder.counters())

    def wait_written(self, number: int) -> None:
        assert wait_until(lambda: self.counters["recordings_written"] >= number), self.counters


def test_what_the_analysis_remembers_is_exact_at_every_frame(tmp_path: Path) -> None:
    first = Analysis(settings(tmp_path), finds_poses=True)
    frames, kept, reported = list(street(200)), [], []
    for result in frames:
        kept.append(msgspec.json.encode(first.checkpoint(), enc_hook=plain))
        insight = first(result).insight
        assert insight is not None
        reported.append(insight.events)
    assert {e.event_type for events in reported for e in events} >= {
        "appeared", "entered", "dwelling", "line_crossed", "wave", "sitting"
    }  # fmt: skip
    for begin in range(0, 200, 11):
        second = Analysis(settings(tmp_path), finds_poses=True)
        second.resume(msgspec.json.decode(kept[begin], type=Checkpoint, dec_hook=rebuilt))
        for result, expected in zip(frames[begin:], reported[begin:], strict=True):
            insight = second(result).insight
            assert insight is not None
            assert insight.events == expected
        assert second.checkpoint().next_number == first.checkpoint().next_number


def test_how_rarely_a_model_looks_is_remembered_too(tmp_path: Path) -> None:
    """A track outlives three looks; a replay that did not know of them would end it after 1 s."""

    def look(analysis: Analysis, number: int) -> Result:
        people = [] if number == 5 else [person()]
        frame = Frame(IMAGE, number, 2.0 * number, 1e9)
        return analysis(Result(frame, {"posenet": Decoded(poses=tuple(people))}))

    first = Analysis(settings(tmp_path), finds_poses=True)
    for number in range(5):
        look(first, number)
    kept = msgspec.json.encode(first.checkpoint(), enc_hook=plain)
    second = Analysis(settings(tmp_path), finds_poses=True)
    second.resume(msgspec.json.decode(kept, type=Checkpoint, dec_hook=rebuilt))
    tracks = [look(analysis, n).poses for n in (5, 6) for analysis in (first, second)]
    assert [pose.track for poses in tracks for pose in poses] == [1, 1]


def test_a_recording_begins_before_its_event_and_tells_the_same(tmp_path: Path) -> None:
    flight = Flight(settings(tmp_path / "kept", events=["dwelling", "line_crossed"]))
    reported = [flight.see(result) for result in street()]
    flight.recorder.close()
    assert flight.counters["recordings_written"] == len(flight.files()) >= 2
    everything = {r.frame.sequence: r.insight.events for r in reported if r.insight is not None}
    for path in flight.files():
        recording = read(path)
        trigger, frames = recording.header.trigger, recording.frames
        assert trigger.event_type in ("dwelling", "line_crossed")
        assert 2.0 - 0.11 <= trigger.time_s - frames[0].time_s <= 2.0 + 0.5 + 0.21
        assert frames[-1].time_s >= trigger.time_s + 1.0 - 0.11
        numbers = [record.sequence for record in frames]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert [record.events for record in frames] == [everything[n] for n in numbers]
        again = [result.insight.events for result in results(recording) if result.insight]
        assert again == [record.events for record in frames]


def test_nothing_is_written_without_an_event(tmp_path: Path) -> None:
    flight = Flight(settings(tmp_path / "kept", events=["fall"]))
    for result in street():
        flight.see(result)
    flight.recorder.close()
    assert not (tmp_path / "kept").exists()


def test_events_without_end_make_recordings_that_end(tmp_path: Path) -> None:
    flight = Flight(settings(tmp_path / "kept"))
    # A person comes and goes all the time: no second is quiet.
    for number in range(1500):
        flight.see(seen(number, [person(x=300.0)] if number % 20 < 8 else []))
    flight.recorder.close()
    spans = [read(path).frames for path in flight.files()]
    assert len(spans) >= 2
    assert all(f[-1].time_s - f[0].time_s < MAX_SPAN_S + 2.0 + 1.0 + 1.0 for f in spans)
    # What came between two recordings is in one of them.
    for before, after in itertools.pairwise(spans):
        assert after[0].sequence <= before[-1].sequence + 1


def test_it_is_written_also_where_no_frame_comes_any_more(tmp_path: Path) -> None:
    flight = Flight(settings(tmp_path / "kept", after_s=5.0))
    for result in itertools.islice(street(), 20):
        flight.see(result)
    assert not flight.files()
    flight.recorder.tick(float("inf"))
    flight.wait_written(1)
    assert read(flight.files()[0]).frames[-1].sequence == 19


def test_the_folder_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    foreign = tmp_path / "letter.txt"
    foreign.write_text("mine")
    (tmp_path / f".half{SUFFIX}.unfinished").write_bytes(b"left by a loss of power")
    folder = Folder(tmp_path, max_files=3, max_bytes=10_000)
    dropped = 0
    for number in range(8):
        size = 4000 if number < 5 else 1000
        contents = folder.add(f"{number}{SUFFIX}", bytes(size))
        dropped += contents.dropped
        assert contents.files <= 3
        assert contents.size_bytes <= 10_000
    names = sorted(path.name for path in tmp_path.iterdir())
    kept = ("000006-5", "000007-6", "000008-7")
    assert names == [*(f"{name}{SUFFIX}" for name in kept), "letter.txt"]
    assert dropped == 5
    with pytest.raises(OSError, match=r"more than recorder.max_bytes"):
        folder.add(f"9{SUFFIX}", bytes(10_001))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_too_large_for_the_system_leaves_nothing_and_costs_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "kept", 3, 1_000_000)
    folder.add(f"0{SUFFIX}", bytes(100))
    child = os.fork()
    if child == 0:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            folder.add(f"1{SUFFIX}", bytes(60_000))
        except OSError:
            os._exit(42)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f"000001-0{SUFFIX}"]


@pytest.mark.parametrize("year", [1970, 2099])
def test_the_oldest_goes_first_whatever_the_clock_says(tmp_path: Path, year: int) -> None:
    """A board starts with another time than the one in which its folder was filled."""

    def set_back(path: Path) -> None:
        wrong_s = (year - 1970) * 31_557_600 + 60
        os.utime(path, (wrong_s, wrong_s))

    before = [f"2026030{day}T181502Z-1f2e3d4c-7-fall{SUFFIX}" for day in (1, 2, 3)]
    for at_s, name in enumerate(before):
        # As an earlier release named them.
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1_772_000_000 + at_s, 1_772_000_000 + at_s))
    folder = Folder(tmp_path, max_files=3, max_bytes=10_000)
    kept = []
    for number in range(7):
        # Another start, the clock right again.
        is_right = number in (2, 3)
        folder = Folder(tmp_path, max_files=3, max_bytes=10_000) if is_right else folder
        assert folder.add(f"{number}{SUFFIX}", bytes(10)).dropped == 1
        kept.append(f"{number + 1:06}-{number}{SUFFIX}")
        if not is_right:
            set_back(tmp_path / kept[-1])
        assert {path.name for path in tmp_path.iterdir()} == {*before, *kept[-3:]}.difference(
            before[: number + 1]
        )


def test_a_recorder_keeps_its_newest_with_the_clock_in_1970(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"20260301T18150{number}Z-1f2e3d4c-{number}-fall{SUFFIX}").write_bytes(b"x")
    flight = Flight(settings(tmp_path, max_files=5, before_s=0.5, after_s=0.2))
    for result in street():
        frame = replace(result.frame, captured_unix_s=result.frame.captured_unix_s - 1e9)
        flight.see(replace(result, frame=frame))
    flight.recorder.close()
    written = flight.counters["recordings_written"]
    assert written >= 3
    names = sorted(path.name for path in tmp_path.iterdir())
    expected = [f"{number:06}-1970" for number in range(max(1, written - 4), written + 1)]
    assert [name[:11] for name in names[: len(expected)]] == expected
    assert len(names) == 5


def test_a_name_of_too_many_digits_is_that_of_an_old_file(tmp_path: Path) -> None:
    (tmp_path / f"{'9' * 200}-fall{SUFFIX}").write_bytes(b"x")
    folder = Folder(tmp_path, max_files=2, max_bytes=10_000)
    for number in range(3):
        folder.add(f"{number}{SUFFIX}", bytes(10))
    kept = [f"000002-1{SUFFIX}", f"000003-2{SUFFIX}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_where_recordings_go(tmp_path: Path) -> None:
    own = RecorderSettings(directory="~/mine")
    assert place(own, "front", {"STATE_DIRECTORY": "/x"}) == Path.home() / "mine"
    unset = RecorderSettings()
    service = place(unset, "front", {"STATE_DIRECTORY": "/var/lib/edgecam/front"})
    assert service == Path("/var/lib/edgecam/front/recordings")
    home = place(unset, "front", {"XDG_STATE_HOME": str(tmp_path)})
    assert home == tmp_path / "edgecam/front/recordings"
    assert obstacle(home) is None
    (tmp_path / "edgecam").touch()
    assert obstacle(home) == f"{tmp_path / 'edgecam'} is no directory"


def test_pictures_only_where_asked_for_and_small(tmp_path: Path) -> None:
    modes = {}
    for mode in ("off", "skeleton", "image"):
        flight = Flight(settings(tmp_path / mode, pictures=mode, picture_max_hz=5.0, width_px=160))
        for result in itertools.islice(street(), 30):
            flight.see(result)
            # They are drawn on a thread of their own.
            time.sleep(0.01)
        flight.recorder.close()
        frames = [record for path in flight.files() for record in read(path).frames]
        modes[mode] = [record.jpeg for record in frames if record.jpeg is not None]
    assert modes["off"] == []
    for mode in ("skeleton", "image"):
        assert modes[mode]
        shown = cv2.imdecode(np.frombuffer(modes[mode][0], np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (120, 160, 3)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that edgecam made of the bundled clip."""
    folder = tmp_path_factory.mktemp("flown")
    config = folder / "settings.toml"
    config.write_text(
        f"""
        name = "front"
        [mqtt]
        password_file = "{folder}/c4nary"
        [source]
        url = "{CLIP}"
        [[model]]
        path = "posenet"
        [decode]
        score_threshold = 0.3
        [[zone]]
        name = "left"
        polygon = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
        [recorder]
        enabled = true
        events = ["entered"]
        before_s = 0.5
        after_s = 0.5
        max_files = 2
        directory = "{folder}/kept"
        pictures = "skeleton"
        """
    )
    done = edgecam("--config", config, "--max-frames", 60)
    assert done.returncode == 0, done.stderr
    (path, *_) = (folder / "kept").iterdir()
    assert (folder / "kept").stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def test_replay_tells_the_recorded_events(flown: Path, tmp_path: Path) -> None:
    done = edgecam("replay", flown, "--pictures", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("front, entered at ")
    assert any(" entered " in line and "in left" in line for line in lines)
    assert lines[-2].endswith("events equal to the recorded ones")
    assert next((tmp_path / "pictures").glob("*.jpg")).read_bytes()[:2] == b"\xff\xd8"
    results_file = tmp_path / "results.jsonl"
    assert edgecam("replay", flown, "--write", results_file).returncode == 0
    assert edgecam("replay", flown, "--expect", results_file).returncode == 0
    assert len(results_file.read_text().splitlines()) == len(read(flown).frames)


def test_other_settings_may_be_tried(flown: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        '[[zone]]\nname = "left"\npolygon = [[0.9, 0.9], [1.0, 0.9], [1.0, 1.0]]\n'
        "[events]\npresence = false\n"
    )
    done = edgecam("replay", flown, "--zones", other)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("-") and "entered" in line]
    assert not [line for line in lines if "+" in line and "appeared" in line]
    assert lines[-1].startswith("0 events, ")


def test_a_recording_holds_no_secret_and_no_other_setting(flown: Path) -> None:
    text = gzip.decompress(flown.read_bytes()).decode()
    assert "c4nary" not in text
    assert str(CLIP.parent) not in text
    header = msgspec.json.decode(text.splitlines()[0])
    sections = {"zone", "mask", "line", "scene", "tracking", "events"}
    assert set(header["settings"]) == sections


def test_a_changed_recording_is_reported(flown: Path, tmp_path: Path) -> None:
    text = gzip.decompress(flown.read_bytes()).decode()
    changed = tmp_path / f"changed{SUFFIX}"
    changed.write_bytes(gzip.compress(text.replace('"entered"', '"exited"').encode()))
    done = edgecam("replay", changed)
    assert done.returncode == 1
    assert "differ from the recorded ones" in error_line(done)
    assert "- " in done.stdout


@pytest.mark.parametrize(
    "damage",
    ["cut", "flipped", "text", "empty", "schema", "keypoints", "missing", "version", "deep"],
)
def test_what_is_no_recording_is_refused_in_one_line(
    flown: Path, tmp_path: Path, damage: str
) -> None:
    data, path = flown.read_bytes(), tmp_path / f"damaged{SUFFIX}"
    text = gzip.decompress(data).decode()
    middle = bytes([data[len(data) // 2] ^ 0xFF])
    made = {
        "cut": data[: len(data) // 2],
        "flipped": data[: len(data) // 2] + middle + data[len(data) // 2 + 1 :],
        "text": b"hello",
        "empty": b"",
        "schema": gzip.compress(text.replace('"schema":1', '"schema":2').encode()),
        "keypoints": gzip.compress(text.replace('"xy":[[', '"xy":[[0.0,0.0],[').encode()),
        "deep": gzip.compress(b"[" * 200_000),
        "version": gzip.compress(text.replace('"memories":{', '"memories":{"fall":3,').encode()),
    }
    if damage in made:
        path.write_bytes(made[damage])
    line = error_line(edgecam("replay", path))
    assert "recording" in line


def test_no_recording_reaches_the_terminal_as_an_order_to_it(flown: Path, tmp_path: Path) -> None:
    header, *rest = gzip.decompress(flown.read_bytes()).split(b"\n")
    content = msgspec.json.decode(header)
    content["name"] = "\x1b]0;title\x07\x1b[2J"
    content["trigger"]["unix_s"] = 1e300
    changed = tmp_path / f"changed{SUFFIX}"
    changed.write_bytes(gzip.compress(b"\n".join([msgspec.json.encode(content), *rest])))
    done = edgecam("replay", changed)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert "?]0;title" in done.stdout


def test_a_recording_that_unpacks_without_end_is_one_line(
    flown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = gzip.decompress(flown.read_bytes()).splitlines(keepends=True)
    path = tmp_path / "x.recording.gz"
    for name, value, words in (
        ("MAX_TEXT_BYTES", 100_000, "more than 100000 bytes unpacked"),
        ("MAX_LINE_BYTES", 100, "100 in a line"),
        ("MAX_FRAMES", 50, "more than 50 frames"),
    ):
        with monkeypatch.context() as bound:
            bound.setattr(recording_file, name, value)
            path.write_bytes(gzip.compress(b"".join([lines[0], *lines[1:2] * 400])))
            with pytest.raises(RecordingError, match=words):
                read(path)


@pytest.mark.parametrize("damage", [{"box": [1.0]}, {"sure": [True] * 16}, {"velocity": [[1.0]]}])
def test_arrays_of_another_shape_are_refused(damage: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError, match=f"Expected {next(iter(damage))} of"):
        check_shapes({"tracks": [{"filtered": damage}]})


def test_a_recording_takes_no_model(flown: Path) -> None:
    done = edgecam("replay", flown, "--model", "posenet")
    assert "--zones SETTINGS.toml" in error_line(done)
