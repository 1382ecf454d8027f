"""Every command of README, CONTRIBUTING and docs/ is run here, in a fresh home, as it stands there.

Only what must differ is exchanged: names of machines, cameras and brokers. What cannot run here
has its reason in ``ELSEWHERE``; a command that is in no table fails the test.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from brokers import wait_until
from displays import display
from documented import PAGES, commands, languages
from programs import ROOT, SHARED
from sandbox import Sandbox

# What no machine of ours is called: first the pattern, then the name of what stands in for it.
EXCHANGED = (
    (r"mqtt://(homeassistant(\.local)?(:1883)?|broker(\.local)?)", "{broker}"),
    (r"/etc/edgecam/front\.toml", "front.toml"),
    (r"--source (0|picamera)\b", "--source {camera}"),
    (r"^sudo (\.venv/bin/)?", ""),
    (r"\bNAME\b", "front"),
)


@dataclass(frozen=True)
class Run:
    """How a command is run: ``swaps`` beside ``EXCHANGED``, and what has to come of it.

    ``until`` says when one that runs without end has done its work; ``needs`` prepares files;
    ``beside`` is a documented command that runs meanwhile; ``said`` has to be in the output.
    """

    said: str = ""
    swaps: tuple[tuple[str, str], ...] = ()
    until: Callable[[Sandbox], object] | None = None
    needs: Callable[[Sandbox], object] | None = None
    beside: str | None = None
    makes: str | None = None
    codes: tuple[int, ...] = (0,)
    long: bool = False
    in_clone: bool = False
    tensorflow: bool = False


def heard(topic: str) -> Callable[[Sandbox], object]:
    return lambda box: box.heard.of(topic)


def page_is_served(box: Sandbox) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{box.web_port}/", timeout=5) as answer:
            return b"<title>" in answer.read()
    except OSError:
        return False


def annotated(box: Sandbox) -> None:
    if not box.coral():
        pytest.skip("needs the shared test data")
    mini = SHARED / "coco-mini"
    if not (box.folder / "DIR").exists():
        (box.folder / "DIR").symlink_to(mini / "images")
    (found,) = mini.glob("annotations/*person_keypoints*.json")
    shutil.copy(found, box.folder / "person_keypoints_val2017.json")


def coral(box: Sandbox) -> None:
    if not box.coral():
        pytest.skip("needs the shared test data")


def having(program: str) -> Callable[[Sandbox], object]:
    def needs(_: Sandbox) -> None:
        if shutil.which(program) is None:
            pytest.skip(f"this machine has no {program}")

    return needs


def installed(box: Sandbox) -> None:
    having("systemctl")(box)
    if not (box.folder / "root" / "etc" / "systemd").exists():
        made = box.run("edgecam service install front --model posenet --source 0 --root root")
        assert made.returncode == 0, made.stderr


def checkout(_: Sandbox) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to clone")


FRONT = "edgecam --config /etc/edgecam/front.toml"
FRAMES = "edgecam frames --source 0 --name front --broker mqtt://broker --rate-hz 5"
WORKER = "--source 'mqtt://broker/edgecam/+/frame' --broker mqtt://broker"
SERVICE = "sudo .venv/bin/edgecam service"
IN_SETTINGS = (("^edgecam", "EDGECAM_CONFIG=front.toml edgecam"),)
SOME = (("$", " --max-frames 20"),)
DRY = (("pip install", "pip install --dry-run"), (r"edgecam\[", ".["))
HELP = (("$", " --help"),)
SCRIPT_HERE = ("^", "cd {root} && python ")
RECORDING = "edgecam replay 000042-20260301T181502Z-1f2e3d4c-7-fall.recording.gz"

RUNS: dict[str, Run] = {
    "edgecam --model posenet --show": Run(until=Sandbox.ready),
    "edgecam --model posenet --web": Run(
        until=page_is_served, swaps=(("--web", "--web 127.0.0.1:{web}"),)
    ),
    "edgecam --model posenet --source picamera --web": Run(
        until=page_is_served, swaps=(("--web", "--web 127.0.0.1:{web}"),)
    ),
    "edgecam --model posenet --broker mqtt://homeassistant:1883": Run(
        until=heard("edgecam/camera/result")
    ),
    "edgecam --model posenet --source models/clips/people-walking.mp4 --jsonl -": Run(
        '"poses":[{', swaps=((r"models/clips/people-walking", "clip"), *SOME)
    ),
    FRONT: Run(until=heard("edgecam/front/result")),
    "edgecam doctor": Run("constructs and invokes"),
    "edgecam doctor --config /etc/edgecam/front.toml": Run(
        "passes on what is published", swaps=(("doctor", "doctor source broker"),)
    ),
    "edgecam doctor camera disk": Run("MB free in"),
    "edgecam doctor --json": Run('"failed": false', swaps=(("doctor", "doctor disk"),)),
    f"{SERVICE} install front --model posenet --source picamera --broker mqtt://homeassistant": Run(
        "systemctl enable --now edgecam@front",
        swaps=((r"--source \{camera\}", "--source picamera"), ("$", " --root root")),
        makes="root/etc/systemd/system/edgecam@front.service",
    ),
    f"{SERVICE} install front --model posenet --source picamera "
    "--broker mqtt://homeassistant.local --username edgecam --password-file password": Run(
        "systemctl enable --now edgecam@front",
        swaps=((r"--source \{camera\}", "--source picamera"), ("$", " --root tutorial")),
        needs=lambda box: (box.folder / "tutorial").mkdir(exist_ok=True),
        makes="tutorial/etc/edgecam/front.password",
    ),
    # Offline, in that root: this machine need not have been booted by systemd.
    "sudo systemctl enable --now edgecam@front": Run(
        swaps=(("enable --now", "--root {folder}/root enable"),),
        needs=installed,
        makes="root/etc/systemd/system/multi-user.target.wants/edgecam@front.service",
    ),
    f"{SERVICE} uninstall front": Run("removed", swaps=(("$", " --root root"),)),
    "edgecam tune posenet --size 257x257": Run(
        "chosen", swaps=(("$", " --source pictures --budget-s 600"),), needs=Sandbox.pictures
    ),
    "edgecam tune --fps 10 --write front.toml": Run(
        "chosen", swaps=(("10", "0.1"), ("$", " --budget-s 3000")), long=True, makes="front.toml"
    ),
    "edgecam tune --fps 10": Run("--fps", swaps=HELP),
    "edgecam tune MODEL": Run("--reference", swaps=HELP),
    "edgecam tune --keep 0.97 --source clip.mp4": Run(
        "chosen", swaps=(("$", " --budget-s 3000"),), long=True
    ),
    "edgecam status": Run("front: healthy", beside=FRONT),
    "edgecam status NAME": Run("front: healthy", beside=FRONT),
    "edgecam discovery": Run("homeassistant/", swaps=IN_SETTINGS),
    "edgecam discovery --remove": Run(swaps=IN_SETTINGS),
    FRAMES: Run(until=heard("edgecam/front/frame")),
    f"edgecam --model posenet --name worker1 {WORKER}": Run(
        until=heard("edgecam/worker1/telemetry"), beside=FRAMES
    ),
    f"edgecam --model posenet --name worker2 {WORKER}": Run(
        until=heard("edgecam/worker2/telemetry"), beside=FRAMES
    ),
    "edgecam --source 'mqtt://broker/edgecam/+/frame'": Run(
        until=Sandbox.ready, beside=FRAMES, swaps=(("$", " --model posenet"),)
    ),
    "edgecam frames": Run("--rate-hz", swaps=HELP),
    "edgecam convert": Run("--calibrate", swaps=HELP),
    "edgecam quantize": Run("--max-loss", swaps=HELP),
    "edgecam inspect MODEL": Run("posenet", swaps=(("MODEL", "posenet"),)),
    "edgecam inspect posenet.tflite": Run("posenet"),
    "edgecam decode tensors.npz --decoder tfjs --stride 16": Run('"poses"'),
    "edgecam COMMAND --help": Run("embedded broker", swaps=(("COMMAND", "demo"),)),
    "edgecam bench": Run("MODEL", swaps=HELP),
    "edgecam models": Run("posenet_resnet50"),
    "edgecam help PAGE": Run("# Models", swaps=(("PAGE", "models"),)),
    "edgecam schema": Run('"$defs"'),
    "edgecam replay clip.mp4 --model posenet --write golden.jsonl": Run(
        makes="golden.jsonl", swaps=SOME
    ),
    "edgecam replay clip.mp4 --model posenet --expect golden.jsonl": Run(
        "20 frames equal", swaps=SOME
    ),
    RECORDING: Run(needs=Sandbox.recording),
    f"{RECORDING} --zones other.toml": Run(needs=Sandbox.recording),
    "edgecam top --broker mqtt://broker.local --once": Run(
        # 1 where those that ran before are reported as stopped.
        "1 ok",
        beside=FRONT,
        codes=(0, 1),
    ),
    "edgecam scan letter.jpg -o letter.pdf": Run(makes="letter.pdf"),
    "edgecam scan letter.jpg -o letter.png": Run(makes="letter.png"),
    # What is named twice there would be its own source.
    "edgecam scan receipt.jpg -o flat.jpg --ratio 1:3": Run(makes="flat.jpg"),
    # The other model of that family stands in for the one that is converted from a package.
    "edgecam scan letter.jpg -m hed_vgg16.tflite -o letter.png": Run(makes="letter.png"),
    "edgecam --model documents --source 0 --show": Run(until=Sandbox.ready),
    "edgecam --model documents": Run(until=Sandbox.ready),
    "edgecam scan": Run("--ratio", swaps=HELP),
    "edgecam teach": Run("--labels", swaps=HELP),
    "edgecam train": Run("classifier", swaps=HELP),
    "edgecam teach pictures/ -o gestures.tflite": Run(
        "accuracy", needs=Sandbox.gestures, makes="gestures.tflite"
    ),
    "edgecam --model gestures.tflite --show": Run(until=Sandbox.ready, needs=Sandbox.taught),
    "edgecam demo": Run("results", swaps=(("$", " --max-frames 10"),)),
    "scripts/make-reference": Run(swaps=(("$", " --check"), SCRIPT_HERE)),
    "scripts/score-documents": Run(
        "rendered pages: 3", swaps=(("$", " --pages 3"), SCRIPT_HERE), long=True
    ),
    "scripts/score-documents --model documents --model hed_vgg16.tflite "
    "--photographs tests/data/documents": Run(
        "photographs: ",
        swaps=(("hed_vgg16", "{folder}/hed_vgg16"), ("$", " --pages 3"), SCRIPT_HERE),
        long=True,
    ),
    "git clone URL-OF-THIS-REPOSITORY edgecam && cd edgecam": Run(
        swaps=(("URL-OF-THIS-REPOSITORY", "{root}"),), needs=checkout, makes="edgecam/README.md"
    ),
    "apt install libgl1 libglib2.0-0": Run(
        "libgl1", swaps=(("^apt install", "apt-get --simulate install"),), needs=having("apt-get")
    ),
    # What takes longer.
    "edgecam convert model.json --size 353x481 -o posenet.tflite": Run(
        needs=Sandbox.tensorflow_js, makes="posenet.toml", long=True
    ),
    "edgecam convert posenet_quant_decoder.tflite -o plain.tflite": Run(
        needs=coral, makes="plain.tflite", long=True
    ),
    "edgecam convert model.json --quantize int8-mixed --calibrate clip.mp4 -o small.tflite": Run(
        needs=Sandbox.tensorflow_js, makes="small.tflite", long=True
    ),
    "edgecam quantize float.tflite --mode int8-mixed --calibrate pictures/ -o small.tflite": Run(
        needs=Sandbox.pictures, makes="small.tflite", long=True
    ),
    "edgecam eval -m posenet -m ssd.tflite --images DIR "
    "--annotations person_keypoints_val2017.json": Run("AP", needs=annotated, long=True),
    "edgecam --source 0 --show": Run(until=Sandbox.ready),
    "edgecam --source 0 --accuracy best --show": Run(until=Sandbox.ready),
    "edgecam --model posenet --refine thunder --source 0 --show": Run(until=Sandbox.ready),
    "edgecam eval --accuracy fast --accuracy balanced --accuracy best --images DIR "
    "--annotations person_keypoints_val2017.json": Run("AP", needs=annotated, long=True),
    "edgecam eval -m posenet -m ssdlite --refine lightning": Run(
        "AP",
        needs=annotated,
        swaps=(("$", " --images DIR --annotations person_keypoints_val2017.json"),),
        long=True,
    ),
    "edgecam eval --fit both --decoder both": Run(
        "AP",
        needs=annotated,
        swaps=(("$", " -m posenet --images DIR --annotations person_keypoints_val2017.json"),),
        long=True,
    ),
    "edgecam models pull posenet_resnet50": Run(
        needs=lambda box: box.published("posenet_resnet50"), long=True
    ),
    "edgecam bench posenet --crop -s CLIP --reference MODEL": Run(
        swaps=(("CLIP", "clip.mp4"), ("MODEL", "posenet-fp16")), long=True
    ),
    "edgecam bench posenet --decoder coral": Run("drawn boxes of 8 people", long=True),
    "edgecam bench posenet": Run("posenet", long=True),
    "edgecam bench MODEL --ops": Run(
        "the whole model", swaps=(("MODEL", "documents"), ("$", " --rounds 1"))
    ),
    "edgecam bench MODEL...": Run("ssdlite", swaps=((r"MODEL\.\.\.", "ssdlite"),), long=True),
    # In a clone of this repository, with what pip installs there.
    "scripts/demo": Run("results", swaps=(("$", " --max-frames 30"),), long=True, in_clone=True),
    "scripts/test": Run("passed", swaps=(("$", " -q tests/core/test_geometry.py"),), in_clone=True),
    "scripts/test --confined -m 'not long'": Run(
        "passed", swaps=(("-m 'not long'", "-q tests/core/test_geometry.py"),), in_clone=True
    ),
    "scripts/bench": Run(swaps=(("$", " --only start --rounds 1"),), in_clone=True),
    "scripts/bench-many": Run(
        '"events_lost": 0', swaps=(("$", " fleet --number 3 --seconds 2"),), in_clone=True
    ),
    "scripts/make-together-picture": Run(
        makes="docs/together.jpg",
        swaps=(("^", "rm docs/together.jpg && PYTHONPATH=. .venv/bin/python "),),
        in_clone=True,
    ),
    # Another SSD's boxes, where TensorFlow is not there to train the slim one.
    "scripts/make-train-picture slim.tflite": Run(
        makes="docs/trained.jpg",
        swaps=(
            ("^", "rm docs/trained.jpg && PYTHONPATH=. .venv/bin/python "),
            ("slim.tflite", "ssdlite"),
        ),
        in_clone=True,
    ),
    "scripts/make-teach-picture": Run(
        makes="docs/taught.jpg",
        swaps=(("^", "rm docs/taught.jpg && PYTHONPATH=. .venv/bin/python "),),
        in_clone=True,
    ),
    "python3 -m venv .venv": Run(makes=".venv/bin/pip", in_clone=True),
    ".venv/bin/pip install '.[web]'": Run(makes=".venv/bin/edgecam", in_clone=True),
    ". .venv/bin/activate": Run("edgecam", swaps=(("$", " && edgecam --version"),), in_clone=True),
    "python3 -m venv --system-site-packages .venv": Run(
        swaps=((r"\.venv", "of-the-system"),), makes="of-the-system/bin/pip", in_clone=True
    ),
    ".venv/bin/pip install '.[web,bookworm]'": Run(
        "numpy-1.26", swaps=(("install", "install --dry-run"),), in_clone=True
    ),
    ".venv/bin/edgecam doctor": Run("constructs and invokes", in_clone=True),
    "pip install '.[web]'": Run("", swaps=DRY, in_clone=True),
    "pip install '.[tflite-runtime]'": Run("tflite-runtime", swaps=DRY, in_clone=True),
    "pip install 'edgecam[quantize]'": Run("quantizer", swaps=DRY, in_clone=True),
    "pip install 'edgecam[heif]'": Run("heif", swaps=DRY, in_clone=True),
    "pip install 'edgecam[eval]'": Run("pycocotools", swaps=DRY, in_clone=True),
    "pip install 'edgecam[tensorflow,eval]'": Run("tensorflow", swaps=DRY, in_clone=True),
    ". .venv/share/bash-completion/completions/edgecam": Run(in_clone=True),
    "pip install 'edgecam[tensorflow,quantize]'": Run("tensorflow", swaps=DRY, in_clone=True),
    "pip install paho-mqtt": Run(swaps=DRY, in_clone=True),
    "pip uninstall opencv-python && pip install opencv-python-headless": Run(
        swaps=(("uninstall", "uninstall -y"), ("$", " && .venv/bin/edgecam doctor")),
        in_clone=True,
    ),
}

RUNS |= {
    # What wants TensorFlow; the files are made in this order.
    "edgecam train classifier pictures/ --network v2 --alpha 0.35 -o gestures.tflite": Run(
        "held out",
        swaps=(("$", " --size 97x97 --steps 4 --batch 4"),),
        needs=Sandbox.gestures,
        makes="gestures.tflite",
        tensorflow=True,
    ),
    "edgecam train documents --keep work/ -o documents.keras": Run(
        swaps=(("$", " --minutes 0.02 --scenes 64"),), makes="documents.keras", tensorflow=True
    ),
    "edgecam convert documents.keras -o documents.tflite": Run(
        makes="documents.tflite", tensorflow=True
    ),
    "edgecam quantize documents.tflite --mode int8 --calibrate pages/ -o documents_int8.tflite": (
        Run(
            needs=Sandbox.pages,
            # After a second of training it finds nothing that could be compared.
            swaps=(("$", " --force"),),
            makes="documents_int8.tflite",
            tensorflow=True,
        )
    ),
}

# Run by a test of its own: a terminal, a phone's prefix or a training is needed.
SCRIPT = (
    "tests/test_termux.py::test_the_runit_service_runs_reloads_and_stops_with_nothing_of_systemd"
)
SCANNED = "tests/tools/test_documents_training.py::test_the_command_makes_a_network_that_scan_uses"
FINE_TUNED = "tests/tools/test_zoo_training.py::test_a_classifier_is_fine_tuned"
BY_OTHERS: dict[str, str] = {
    "scripts/termux-install phone posenet http://127.0.0.1:8080/video mqtt://192.168.1.2": SCRIPT,
    "sv up edgecam-NAME": SCRIPT,
    "sv down": SCRIPT,
    "sv reload": SCRIPT,
    "sv status": SCRIPT,
    "python watch.py BROKER [PORT]": (
        "tests/cli/test_recipes.py::test_the_python_subscriber_has_twenty_lines_and_works"
    ),
    "scripts/build-models": "tests/tools/test_build_models.py::test_a_rebuild_gives_the_same_bytes",
    "edgecam top": "tests/tools/test_top.py::test_real_instances_come_work_and_go",
    "edgecam top --broker mqtt://broker.local": (
        "tests/tools/test_top.py::test_real_instances_come_work_and_go"
    ),
    "edgecam train classifier pictures/ --fine-tune -o gestures.tflite": FINE_TUNED,
    "edgecam train ssd --alpha 0.25 --images DIR --annotations instances.json -o slim.tflite": (
        "tests/tools/test_zoo_training.py::test_an_ssd_learns"
    ),
    "edgecam train pose --images DIR --annotations person_keypoints.json -o posenet.tflite": (
        "tests/tools/test_zoo_training.py::test_a_posenet_learns"
    ),
    "edgecam train sizes": (
        "tests/tools/test_zoo_commands.py::test_sizes_are_those_of_the_three_heads"
    ),
    "scripts/compare-upsampling": (
        "tests/tools/test_documents_training.py::test_kinds_of_upsampling_are_compared_in_both_forms"
    ),
    "edgecam --model posenet --model documents:rate_hz=5 --model letters.tflite:rate_hz=2 "
    "--source 0 --show": (
        "tests/pipeline/test_three_models.py::"
        "test_each_model_looks_at_its_own_rate_and_finds_what_is_its_own"
    ),
    "edgecam train pages --count 100 pages/": (
        "tests/tools/test_documents_render.py::test_pages_are_written_with_their_corners"
    ),
    "edgecam scan 0 -o letter.pdf": (
        "tests/tools/test_scan.py::test_of_a_clip_the_first_page_that_lies_still_is_taken"
    ),
    "edgecam teach 0 --labels wave,point,none -o gestures.tflite": (
        "tests/tools/test_teach.py::test_a_camera_is_watched_label_after_label"
    ),
    # The unit's ExecReload is kill -HUP.
    "sudo systemctl reload edgecam@front": (
        "tests/faults/test_service.py::test_a_new_configuration_is_taken_and_a_bad_one_refused"
    ),
    "scripts/convert-vgg-hed -o hed_vgg16.tflite": (
        "tests/tools/test_documents_heavy.py::test_the_heavy_one_converts_and_finds_pages"
    ),
    "edgecam convert movenet.json --inputs sub_1 --outputs center_0/conv2d_4/BiasAdd,... "
    "-o part.tflite": (
        "tests/tools/test_convert_cut.py::test_published_movenets_give_the_heads_of_the_whole_graphs"
    ),
    "edgecam --config front.toml --config hall.toml": (
        "tests/settings/test_camera_tables.py::test_files_are_joined_each_with_its_own_defaults"
    ),
    "edgecam status hall": (
        "tests/faults/test_several_cameras.py::"
        "test_four_cameras_of_real_servers_live_through_faults_of_one"
    ),
    "edgecam replay 000042-20260301T181502Z-1f2e3d4c-7-fall.recording.gz --explain": (
        "tests/sinks/test_explain.py::test_replay_explains_a_recording"
    ),
    "man edgecam": "tests/cli/test_manual.py::test_man_finds_the_installed_pages",
    "man edgecam.toml": "tests/cli/test_manual.py::test_man_finds_the_installed_pages",
    "fpath=($PWD/.venv/share/zsh/site-functions $fpath); compinit": (
        "tests/cli/test_manual.py::test_zsh_completes"
    ),
    "source .venv/share/fish/vendor_completions.d/edgecam.fish": (
        "tests/cli/test_manual.py::test_fish_completes"
    ),
}
ELSEWHERE: dict[str, str] = {
    "sudo apt install python3-picamera2 python3-venv": "python3-picamera2 is Raspberry Pi OS's own",
    "sudo apt install git python3-picamera2 python3-venv": "as the other one",
    "sudo apt install python3-venv libgl1 libglib2.0-0": "the libraries alone are simulated above",
    ".venv/bin/pip uninstall --yes opencv-python": "would break the environment of the tests",
    ".venv/bin/pip install opencv-python-headless": "as the one above",
    "scripts/deb .": "minutes; tests/test_install.py runs it",
    "sudo apt install ./edgecam_*.deb": "installs into this machine",
    "sudo edgecam service install front --source 0 --broker mqtt://homeassistant": "as installed",
    "sudo apt purge edgecam": "as the one above",
    "podman build -t edgecam .": "needs podman and a registry",
    "podman run --rm edgecam --source demo --max-frames 10 --jsonl -": "as the one above",
    "podman run --device /dev/video0 --group-add keep-groups -p 8080:8080 "
    "-v ./front.toml:/etc/edgecam/front.toml:ro edgecam": "as the one above",
    "edgecam replay 000042-20260301T181502Z-1f2e3d4c-7-fall.recording.gz --video fall.mp4": (
        "needs a recording with pictures; tests/sinks/test_recorder_video.py makes one"
    ),
    "ssh -L 8080:127.0.0.1:8080 pi@raspberrypi.local": "a second machine",
    "mosquitto_sub -v -h homeassistant -t 'edgecam/#'": "a second machine",
    "pkg install git": "pkg is Termux's own",
    "scripts/build-models documents": "an hour of training; its three steps are run, shorter",
    "scripts/check": "installs everything; what it runs, scripts/test runs first",
    "scripts/bench --check": "for a quiet machine, by hand",
    "scripts/bench --houses 3": "as the one above",
    "scripts/score-events --synthetic": "minutes; tests/test_score_synthetic.py runs it shorter",
    "scripts/bench-many --plan": "reads what the one above wrote; tests/tools/test_many.py plans",
    "scripts/bench-many house": "minutes on a quiet machine, by hand",
    "scripts/bench-many workers": "as the one above",
    "scripts/bench --only peers": "takes 200 MB of others' packages, by hand",
    "scripts/score-marked CLIPS": "clips by others, by hand; test_marked runs the bundled one",
    "scripts/mutate": "by hand: a venv of its own, hours",
    "edgecam convert model.json": "a row of the table of formats; tests/tools run it on real ones",
    "edgecam convert graph.pb": "as the one above",
    "edgecam doctor broker": "a row of the table of formats; the checks are run above",
    "edgecam --source 0": "needs a camera; accuracy.md's own example is run without one",
    "scripts/test-board": "boots a machine; tests/daemon/test_board.py runs its short form",
    "scripts/test-board --nspawn [--without-libnss] [CHECK...]": "as the one above",
    "scripts/test-board --vm [CHECK...]": "20 minutes of an emulated machine, by hand",
    "scripts/termux-install": "for a phone; its list is compared with pyproject.toml's",
    "scripts/mutate [AREA...]": "as the one above",
    "scripts/mutate.toml": "a file, not a command",
    "edgecam eval --turn 90 --turned-looks": "needs pictures with people drawn by hand",
    "scripts/score-rates MODEL": "minutes of clips, by hand",
    "scripts/fuzz [TARGET] [SECONDS]": "runs as long as it may; tests/fuzz is run by the tests",
    "systemctl restart": "no unit runs here",
    "systemctl reload": "no unit runs here",
    "edgecam --config FILE --check": "scripts/test-board reloads a unit, which runs it",
    "edgecam decode": "the command's name alone; RUNS has one with arguments",
    "scripts/train-posture": "by hand, as the other trainings",
    "edgecam doctor --config house.toml": "the same doctor, with the sources of several cameras",
    "sudo edgecam doctor --config /etc/edgecam/front.toml": "reads what root alone may; the doctor "
    "itself is run above",
    "scripts/docs": "installs MkDocs; test_documentation_links follows the same links",
    "scripts/test-lowest": "builds an environment of its own; runs the tests",
    "scripts/test-long": "installs TensorFlow (1.6 GB), and runs this file",
    "scripts/test-arm64": "an emulated board of 300 MB; docs/arm64.md is what it wrote",
}
# The recipe of a camera without edgecam reads /dev/video0.
SCRIPTS = {"ffmpeg -nostdin": "needs /dev/video0; below it runs with a drawn picture in its place"}


def documented() -> list[str]:
    found = (command for page in PAGES for command in commands(page))
    return list(dict.fromkeys(command.replace('"', "'") for command in found))


def reason(command: str) -> str | None:
    if command in BY_OTHERS or command in ELSEWHERE:
        return {**BY_OTHERS, **ELSEWHERE}[command]
    return next((why for start, why in SCRIPTS.items() if command.startswith(start)), None)


def test_every_command_is_run_or_has_a_reason() -> None:
    unknown = [each for each in documented() if each not in RUNS and reason(each) is None]
    assert not unknown, "put these into RUNS (or ELSEWHERE):\n" + "\n".join(unknown)
    gone = {*RUNS, *BY_OTHERS, *ELSEWHERE} - set(documented())
    assert not gone, "these are in no page any more:\n" + "\n".join(sorted(gone))


def test_the_tests_that_run_the_others_exist() -> None:
    for test in BY_OTHERS.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), test


def test_every_block_says_what_it_holds() -> None:
    for page in PAGES:
        assert "" not in languages(page), page
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        assert not re.search(r"\n\n    \S", prose), f"{page}: a block without a fence"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("sandbox"))
    yield made
    made.close()


def translated(command: str, run: Run, box: Sandbox) -> str:
    for pattern, replacement in (*EXCHANGED, *run.swaps):
        command = re.sub(pattern, replacement, command)
    for name, value in (
        ("{broker}", box.broker.url),
        ("{camera}", box.camera_url),
        ("{port}", str(box.broker.port)),
        ("{web}", str(box.web_port)),
        ("{root}", str(ROOT)),
        ("{folder}", str(box.folder)),
    ):
        command = command.replace(name, value)
    return command


def carry_out(command: str, box: Sandbox, cwd: Path | None = None) -> None:
    run = RUNS[command]
    if run.needs is not None:
        run.needs(box)
    text = translated(command, run, box)
    if run.until is not None:
        seen = run.until
        # Whatever an earlier command has published is not this one's.
        box.heard.messages.clear()
        box.run_until(text, lambda: seen(box))
        return
    done = box.run(text, cwd)
    assert done.returncode in run.codes, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert run.said in done.stdout + done.stderr
    if run.makes is not None:
        assert os.path.lexists((cwd or box.folder) / run.makes)


def carry_out_beside(command: str, box: Sandbox) -> None:
    """With the command that it speaks of running."""
    other = RUNS[command].beside
    if other is None:
        carry_out(command, box)
        return
    process = box.start(translated(other, RUNS[other], box))
    try:
        topic = "edgecam/front/frame" if other == FRAMES else "edgecam/front/result"
        box.heard.messages.clear()
        assert wait_until(lambda: box.heard.of(topic), 30)
        carry_out(command, box)
    finally:
        process.terminate()
        process.communicate(timeout=120)


HERE = [
    pytest.param(name, id=name[:70])
    for name, run in RUNS.items()
    if not (run.in_clone or run.tensorflow)
]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(*each.values, id=each.id, marks=pytest.mark.long)
        if RUNS[str(each.values[0])].long
        else each
        for each in HERE
    ],
)
def test_a_command_does_what_the_page_says(command: str, box: Sandbox) -> None:
    box.variables = {}
    if "--source" not in command and RUNS[command].until is not None and command != FRONT:
        box.variables["EDGECAM_SOURCE_URL"] = box.camera_url
    if "--show" in command:
        with display(1024, 768) as name:
            box.variables["DISPLAY"] = name
            carry_out_beside(command, box)
    else:
        carry_out_beside(command, box)


@pytest.mark.long
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
@pytest.mark.parametrize("command", [name for name, run in RUNS.items() if run.tensorflow])
def test_a_command_that_wants_tensorflow(command: str, box: Sandbox) -> None:
    box.variables = {}
    carry_out(command, box)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_fresh_clone_in_a_fresh_environment(box: Sandbox, tmp_path: Path) -> None:
    """One after the other, as people do who follow the README."""
    clone = tmp_path / "edgecam"
    done = subprocess.run(["git", "clone", "-q", ROOT, clone], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: nothing to clone")
    box.variables = {"PYTHONPATH": "", "PYTHON": os.path.realpath(sys.executable)}
    for command, run in RUNS.items():
        if not run.in_clone:
            continue
        if command == "python3 -m venv .venv":
            # The scripts have made one, by other means.
            shutil.rmtree(clone / ".venv")
        if command.startswith("pip"):
            places = (clone / ".venv" / "bin", Path(os.environ["PATH"]))
            box.variables["PATH"] = os.pathsep.join(map(str, places))
        carry_out(command, box, clone)


def test_the_recipe_of_a_camera_without_edgecam(box: Sandbox) -> None:
    """As it stands there, but for the camera and the broker."""
    recipes = [text for text in documented() if text.startswith("ffmpeg -nostdin")]
    (script,) = recipes
    drawn = script.replace("-f v4l2 -i /dev/video0", "-re -f lavfi -i testsrc=size=640x480")
    drawn = drawn.replace("-h broker", f"-p {box.broker.port}")
    assert drawn.count("/dev/video0") == drawn.count("-h broker") == 0
    box.variables = {}
    box.heard.messages.clear()
    process = subprocess.Popen(
        ["bash", "-c", drawn], cwd=box.folder, env=box.environment(), start_new_session=True
    )
    try:
        assert wait_until(lambda: len(box.heard.of("edgecam/front/frame")) >= 3, 20)
        assert box.heard.of("edgecam/front/frame")[-1].payload.startswith(b"\xff\xd8")
    finally:
        os.killpg(process.pid, 15)
        process.wait(120)


def test_the_schema_is_json(box: Sandbox) -> None:
    box.variables = {}
    assert "$defs" in json.loads(box.run("edgecam schema").stdout)
