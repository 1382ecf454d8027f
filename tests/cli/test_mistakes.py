"""A person's mistakes over all commands: one line, where to read more, and no file left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto
from click.testing import CliRunner
from programs import CLIP, ROOT, edgecam, environment, error_line

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled

README = (ROOT / "README.md").read_text("utf-8")
PHOTOGRAPH = ROOT / "tests" / "data" / "documents" / "letter.jpg"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files and spoilt ones, as people have who try things out."""
    folder = tmp_path_factory.mktemp("desk")
    clip, noise = CLIP.read_bytes(), np.random.default_rng(1).bytes(100_000)
    shutil.copy(bundled.resolve("posenet-fp16"), folder / "posenet.tflite")
    shutil.copy(PHOTOGRAPH, folder / "letter.jpg")
    for name, data in {
        "clip.mp4": clip,
        "cut.mp4": clip[:40_000],
        "noise.mp4": noise,
        "noise.jpg": noise,
        "noise.tflite": noise,
        "noise.recording.gz": noise,
        "empty.tflite": b"",
        "text.txt": README.encode()[:2000],
        "not.json": b"no JSON",
        "empty.json": b"{}",
        "bad.toml": b'name = "x\n',
        "typo.toml": b"[decode]\nscore_treshold = 0.5\n",
        "binary.toml": b"\xff\xfe",
    }.items():
        (folder / name).write_bytes(data)
    for name in ("empty", "pictures/wave", "pictures/point"):
        (folder / name).mkdir(parents=True)
    shutil.copy(PHOTOGRAPH, folder / "pictures" / "wave")
    return folder


RUN = "--model posenet --source"
BROKER = "--broker mqtt://127.0.0.1:1"
LEARN, CONVERT = "teach", "convert"
WRONG = "troubleshooting"


@pytest.mark.parametrize(
    ("command", "page", "said"),
    [
        ("--model text.txt --source clip.mp4", "models", "found text that begins '# edgecam"),
        ("--model empty --source clip.mp4", "models", "is a folder: name the .tflite file in it"),
        ("--model empty.tflite --source clip.mp4", "models", "expected a TFLite model"),
        (f"{RUN} cut.mp4 --jsonl out.jsonl", "sources", "it may be cut off: copy it again"),
        (f"{RUN} noise.mp4", "sources", "see whether another player shows it"),
        (f"{RUN} text.txt", "sources", "name a video, a picture or a folder of pictures"),
        (f"{RUN} none.mp4", "sources", "check the path of the source"),
        (f"{RUN} none*.jpg", "sources", "check the pattern"),
        (f"{RUN} empty", "sources", "no pictures in this directory"),
        (f"{RUN} 63", "sources", "no such camera"),
        (f"{RUN} http://127.0.0.1:1/x", "sources", "fix the port in source.url"),
        (f"{RUN} mqtt://127.0.0.1:1/a/b", "sources", "start the broker"),
        (f"{RUN} rtsp://none.invalid/x", "sources", "fix the host name in source.url"),
        (f"{RUN} clip.mp4 --jsonl none/x", "messages", "give another path"),
        (f"{RUN} clip.mp4 --threads two", "settings", "Expected a whole number, found 'two'"),
        (f"{RUN} clip.mp4 --name Tür", "settings", "no capitals, no spaces"),
        (f"{RUN} clip.mp4 --input-size big", "settings", "HEIGHTxWIDTH in pixels, as in 353x481"),
        (f"{RUN} clip.mp4 --web 0.0.0.0:1", "live-page", "name it: web.token_file"),
        (f"{RUN} clip.mp4 --broker http://127.0.0.1", "settings", "expected mqtt://HOST"),
        (f"{RUN} clip.mp4 {BROKER} --password-file none", "settings", "fix mqtt.password_file"),
        ("--config bad.toml", "settings", "expected TOML"),
        ("--config typo.toml", "settings", "did you mean 'decode.score_threshold'?"),
        ("--config binary.toml", "settings", "expected TOML"),
        ("replay clip.mp4 --model posenet --expect none", "settings", "make them with --write"),
        ("replay clip.mp4 --model posenet --write none/x", WRONG, "there is no folder none"),
        ("replay noise.recording.gz", "recorder", "a file that the recorder wrote"),
        ("inspect noise.tflite", "models", "expected TFL3 at byte 4"),
        ("convert not.json -o x.tflite", CONVERT, "expected a TensorFlow.js model.json"),
        ("convert posenet.tflite -o x.tflite", CONVERT, "edgecam quantize makes a .tflite smaller"),
        (
            "quantize noise.tflite --mode int8 --calibrate empty -o x.tflite",
            "models",
            "not a TFLite",
        ),
        (
            "eval -m posenet --images empty --annotations not.json",
            CONVERT,
            "person_keypoints_*.json",
        ),
        ("eval -m posenet --images empty --annotations empty.json", CONVERT, "found: no 'images'"),
        ("models pull none", CONVERT, "no published model is called 'none'; known are"),
        ("scan noise.jpg -o x.pdf", "sources", "not a picture that can be decoded"),
        ("scan letter.jpg -o letter.jpg", WRONG, "give --output a name of its own"),
        ("scan letter.jpg -o x.pdf -m posenet", "models", "such as the bundled model documents"),
        ("teach empty -o x.tflite", LEARN, "a folder for each label"),
        ("teach picturs -o x.tflite", LEARN, "there is no such folder"),
        ("teach pictures -o x.tflite", LEARN, "expected 10 at least"),
        ("train classifier empty -o x.tflite", LEARN, "a folder for each label"),
        ("tune --source none.mp4 --write x.toml", "sources", "check the path of the source"),
        ("bench none", "models", "no such file and no bundled model"),
        ("decode none.npz", WRONG, "give a file that numpy.savez has written"),
        ("decode posenet.tflite", WRONG, "expected an .npz of named arrays, found something else"),
        (f"top --once {BROKER}", "top", "is the broker running?"),
        (f"discovery --remove {BROKER}", "messages", "is the broker running?"),
        (f"frames --source none.mp4 {BROKER}", "sources", "check the path of the source"),
        (f"frames --source letter.jpg {BROKER}", "messages", "no picture was published"),
        ("service uninstall none --root empty", "service", "no service 'none'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    desk: Path, monkeypatch: pytest.MonkeyPatch, command: str, page: str, said: str
) -> None:
    monkeypatch.chdir(desk)
    before = sorted(desk.rglob("*"))
    done = CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    assert done.exit_code == 1
    *rest, line = done.stderr.splitlines()
    assert line.startswith("edgecam: error: ")
    assert said in line
    assert line.endswith(f" (see: edgecam help {page})")
    assert f"(docs/{page}.md)" in README
    assert not [each for each in rest if "error" in each]
    assert done.stdout == ""
    assert sorted(desk.rglob("*")) == before


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that this user, root too, is kept out of."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "in").mkdir()
    folder.chmod(0)
    if os.geteuid() == 0:
        # Its owner may do whatever the mode says, which root must be held to.
        os.chown(folder, 65534, 65534)
    return folder


BARRED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (apt install util-linux)")
@pytest.mark.parametrize(
    "command",
    [
        "scan {}/in/x.jpg -o x.pdf",
        "convert {}/x.json -o x.tflite",
        "eval -m posenet --images {}/in --annotations {}/a.json",
        "train classifier {}/in -o x.tflite",
        "--model {}/x.tflite --source clip.mp4",
        "inspect {}/in/x.tflite",
    ],
)
def test_a_folder_that_may_not_be_entered_is_one_line(
    desk: Path, closed: Path, command: str
) -> None:
    prefix = BARRED if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "edgecam", *command.replace("{}", str(closed)).split()],
        cwd=desk,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(closed) in error_line(done)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (apt install util-linux)")
def test_a_home_that_may_not_be_entered_costs_nothing(desk: Path, closed: Path) -> None:
    """As of a service's user, or with sudo -u and the caller's HOME."""
    prefix = BARRED if os.geteuid() == 0 else ()
    command = ["--model", "posenet-fp16", "--source", "clip.mp4", "--max-frames", "1"]
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "edgecam", *command, "--jsonl", "-"],
        cwd=desk,
        env=environment(HOME=str(closed / "in")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"poses"' in done.stdout


def test_a_recording_that_no_broker_has_taken_is_a_fault(
    tmp_path: Path, make_mosquitto: Callable[..., Mosquitto]
) -> None:
    """A camera goes on and waits for the broker; a recording is over by then."""
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "eva", "right"], check=True)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {users}")
    broker.start()
    login = ("--broker", broker.url, "--username", "eva", "--password-file", password)
    command = ("--model", "posenet-fp16", "--source", CLIP, "--max-frames", "2", *login)
    password.write_text("wrong\n")
    line = error_line(edgecam(*command))
    assert "nothing was published: " in line
    assert "login refused (user 'eva')" in line
    assert "(see: edgecam help messages)" in line
    password.write_text("right\n")
    assert edgecam(*command).returncode == 0
