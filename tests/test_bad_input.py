"""A person's mistakes: one clear line, a non-zero code, and nothing left behind."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import CLIP, edgecam, environment, error_line

from edgecam.inference import catalog as bundled
from edgecam.inference.tflite import file as tflite_file

POSENET = ("--model", "posenet")


def bundled_copy(folder: Path, name: str = "posenet") -> Path:
    """A bundled model without its card, so that its bytes may change."""
    return Path(shutil.copy(bundled.resolve(name), folder / "model.tflite"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "no.tflite"), ["'no.tflite'", "no such file and no bundled model", "posenet"]),
        (("--model", "/nonexistent/no.tflite"), ["/nonexistent/no.tflite", "does not exist"]),
        ((*POSENET, "--source", "/nonexistent/clip.mp4"), ["/nonexistent/clip.mp4", "No such"]),
        ((*POSENET, "--source", "63"), ["/dev/video63"]),
        ((*POSENET, "--source", "/dev/v4l/by-id/usb-none"), ["/dev/v4l/by-id/usb-none"]),
        ((*POSENET, "--source", "ftp://host/clip.mp4"), ["ftp://", "expected"]),
        ((*POSENET, "--source", "rtsp://"), ["rtsp://"]),
        ((*POSENET, "--source", CLIP, "--broker", "http://host"), ["mqtt://"]),
        ((*POSENET, "--source", CLIP, "--broker", "mqtt://u:secret@h"), ["password_file"]),
        ((*POSENET, "--source", CLIP, "--delegate", "npu"), ["'npu'", "auto, cpu, edgetpu"]),
        ((*POSENET, "--source", CLIP, "--input-size", "256x256"), ["16n+1", "257x257"]),
        ((*POSENET, "--source", CLIP, "--input-size", "big"), ["--input-size", "'big'"]),
        ((*POSENET, "--source", CLIP, "--max-poses", "0"), ["--max-poses", ">= 1", "0"]),
        ((*POSENET, "--source", CLIP, "--score-threshold", "7"), ["--score-threshold", "<= 1"]),
        ((*POSENET, "--source", CLIP, "--name", "Front Door"), ["--name", "a-z0-9_-"]),
        ((*POSENET, "--source", CLIP, "--jsonl", "/nonexistent/o.jsonl"), ["--jsonl", "No such"]),
        ((*POSENET, "--source", CLIP, "--labels", "/nonexistent/l.txt"), ["/nonexistent/l.txt"]),
        (("--config", "/nonexistent/front.toml"), ["/nonexistent/front.toml"]),
    ],
)
def test_each_mistake_is_one_line_that_names_it(
    arguments: tuple[object, ...], words: list[str]
) -> None:
    line = error_line(edgecam(*arguments, timeout_s=30))
    for word in words:
        assert word in line
    assert "secret" not in line


@pytest.mark.parametrize("content", [b"", b"hello, I am a model\n" * 20, b"\0" * 4096])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    line = error_line(edgecam("--model", path, "--source", CLIP))
    assert str(path) in line


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = bundled_copy(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    line = error_line(edgecam("--model", path, "--source", CLIP))
    assert str(path) in line


def test_a_bundled_model_that_changed_on_disk_is_refused_by_its_hash(tmp_path: Path) -> None:
    original = bundled.resolve("posenet")
    path = Path(shutil.copy(original, tmp_path))
    shutil.copy(original.with_suffix(".toml"), tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    line = error_line(edgecam("--model", path, "--source", CLIP))
    assert "expected SHA-256" in line


def test_settings_beside_a_model_are_not_taken_for_its_card(tmp_path: Path) -> None:
    path = bundled_copy(tmp_path)
    path.with_suffix(".toml").write_text('[[model]]\npath = "model.tflite"\n')
    done = edgecam("replay", CLIP, "--model", path, "--max-frames", 1)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_reported_in_one_line() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "edgecam", *POSENET, "--source", str(CLIP), "--jsonl", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    errors = running.stderr.read().decode()
    running.stderr.close()
    assert running.wait(60) == 1
    assert "expected a reader to the end" in errors
    assert "Traceback" not in errors


def table_positions(data: bytes) -> list[int]:
    """Byte positions outside the weights: where damage does more than change a number."""
    is_weight = bytearray(len(data))
    for buffer in tflite_file.read(data).buffers:
        if len(buffer) > 64:
            start = data.find(bytes(buffer[:64]))
            is_weight[start : start + len(buffer)] = b"\1" * len(buffer)
    return [place for place in range(8, len(data)) if not is_weight[place]]


def test_a_model_that_kills_the_runtime_does_not_kill_edgecam(tmp_path: Path) -> None:
    """Damage a model until it takes the runtime down with a signal, then start with that file."""
    path = bundled_copy(tmp_path, "posenet-fp16")
    data = path.read_bytes()
    places = table_positions(data)
    script = (
        "import sys; from pathlib import Path; from edgecam.inference import runtime\n"
        "i = runtime.find().interpreter(model_content=Path(sys.argv[1]).read_bytes())\n"
        "i.allocate_tensors(); i.invoke()"
    )
    for seed in range(12):
        generator = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(4):
            damaged[generator.choice(places)] = generator.randrange(256)
        path.write_bytes(damaged)
        died = subprocess.run(
            [sys.executable, "-c", script, path],
            capture_output=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        if died.returncode < 0:
            break
    else:
        pytest.skip("no damage in 12 tries took this runtime down (LiteRT checks files itself)")
    line = error_line(edgecam("--model", path, "--source", CLIP))
    assert str(path) in line


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 100, bytes(range(256)) * 40])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    line = error_line(edgecam(*POSENET, "--source", path))
    assert str(path) in line


def test_a_clip_that_breaks_off_is_reported_and_its_frames_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    remux = ["ffmpeg", "-v", "error", "-i", CLIP, "-c", "copy", path]
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg to turn the clip into one that can be cut short")
    subprocess.run(list(map(str, remux)), check=True, timeout=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = edgecam("--model", "posenet-fp16", "--source", path, "--jsonl", "-")
    assert done.returncode == 0
    reported = [line for line in done.stderr.splitlines() if "breaks off" in line]
    assert len(reported) == 1
    assert f"after {len(done.stdout.splitlines())} of " in reported[0]


def test_a_full_disk_under_jsonl_is_reported_and_ends_the_run() -> None:
    line = error_line(edgecam(*POSENET, "--source", CLIP, "--jsonl", "/dev/full"))
    assert "/dev/full" in line
    assert "No space left" in line


def test_no_model_shows_the_help() -> None:
    done = edgecam()
    assert done.returncode == 2
    assert "edgecam --model posenet --show" in done.stdout


@pytest.mark.parametrize("variable", ["EDGECAM_MODEL", "EDGECAM_MODEL_PATH"])
def test_a_model_from_the_environment_alone_is_one(variable: str) -> None:
    line = error_line(edgecam(**{variable: "no.tflite"}))
    assert "'no.tflite'" in line


def test_a_wrong_command_is_a_usage_error() -> None:
    done = edgecam("repaly")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        for arguments in (("--help",), ("schema",)):
            done = subprocess.run(
                [sys.executable, "-m", "edgecam", *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr.startswith("edgecam: error: standard output: No space"), done.stderr
            assert done.stderr.count("\n") == 1
