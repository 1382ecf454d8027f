"""``edgecam doctor`` and faults of the system, planted in mounts or libraries that only it sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from doctors import DOCTOR, Report, compiled, examine, in_own_devices, in_own_mounts, toml
from programs import ROOT

from edgecam.tools.doctor import usb

SITE = Path(np.__file__).parent.parent


def usb_device(folder: Path, name: str, ids: str, speed: str = "480") -> Path:
    device = folder / name
    device.mkdir(parents=True)
    vendor, product = ids.split(":")
    values = {"idVendor": vendor, "idProduct": product, "speed": speed, "product": f"Thing {name}"}
    values |= {"busnum": "9", "devnum": "3"}
    for key, value in values.items():
        (device / key).write_text(f"{value}\n")
    return device


def plant_usb(folder: Path) -> None:
    """A root hub, a camera with a driver, one without, and an Edge TPU on a slow port."""
    devices = folder / "usb" / "devices"
    usb_device(devices, "usb1", "1d6b:0002")
    for name, ids, driven in (("1-1", "046d:0825", True), ("1-2", "046d:085c", False)):
        part = usb_device(devices, name, ids) / f"{name}:1.0"
        part.mkdir()
        (part / "bInterfaceClass").write_text("0e\n")
        if driven:
            (part / "driver").mkdir()
    usb_device(devices, "1-1.4", "18d1:9302")


def test_faults_of_a_board_are_reported_one_by_one(tmp_path: Path) -> None:
    """Many at once, for each run takes seconds: they must not hide each other."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    (line, *_) = [line for line in listed.stdout.splitlines() if "libGL.so.1 " in line]
    libgl = Path(line.rpartition("=> ")[2]).resolve()
    plant_usb(tmp_path / "bus")
    zone = tmp_path / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("81500\n")
    firmware = tmp_path / "platform" / "soc" / "soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    small, scarce, readonly = (tmp_path / name for name in ("small", "scarce", "readonly"))
    for place in (small, scarce, readonly):
        place.mkdir()
    prefix = in_own_mounts(
        f"mount --bind /dev/null {libgl} && mount --bind {tmp_path}/bus /sys/bus"
        f" && mount --bind {tmp_path}/thermal /sys/class/thermal"
        f" && mount --bind {tmp_path}/platform /sys/devices/platform"
        f" && mount -t tmpfs -o size=2m tmpfs {small} && mount -t tmpfs -o size=200m tmpfs {scarce}"
        f" && mount -t tmpfs -o ro tmpfs {readonly}"
    )
    lines = f'jsonl = "{small}/out.jsonl"\nevents_jsonl = "{readonly}/events.jsonl"'
    recorder = f'[recorder]\nenabled = true\ndirectory = "{readonly}"\n'
    config = toml(tmp_path, f"[output]\n{lines}\n{recorder}")
    report = examine(
        *("opencv", "usb", "edge-tpu", "power", "disk"),
        config=config,
        prefix=prefix,
        EDGECAM_CACHE_DIR=str(scarce),
    )
    assert report.code == 1
    text, remedy = report.only("opencv", "fail")
    assert "libGL.so.1" in text
    assert "apt install libgl1 libglib2.0-0" in remedy
    assert "opencv-python-headless" in remedy
    text, remedy = report.only("usb", "warn")
    assert text == "Thing 1-2 (046d:085c) is a camera that no driver has taken"
    assert "modprobe uvcvideo" in remedy
    assert "Thing 1-1 (046d:0825)" in report.only("usb", "ok")[0]
    library, permission, speed = (f["text"] for f in report.of("edge tpu", "warn"))
    assert "attached on USB (awake), but libedgetpu.so.1 does not load" in library
    assert "may not open /dev/bus/usb/009/003" in permission
    assert "480 Mbit/s" in speed
    remedies = [f["remedy"] for f in report.of("edge tpu", "warn")]
    for remedy, word in zip(remedies, ("libedgetpu1-std", "plugdev", "USB 3"), strict=True):
        assert word in remedy
    text, remedy = report.only("power", "fail")
    assert text == "the board slows itself down now: under-voltage, throttled"
    assert "power supply" in remedy
    text, remedy = report.only("power", "warn")
    assert "82 °C" in text or "81 °C" in text
    assert "heat sink" in remedy
    faults = {f["text"]: f["remedy"] for f in report.of("disk", "fail")}
    assert faults[f"2 MB free in {small} (output.jsonl)"] == f"make room in {small}"
    text, remedy = report.only("disk", "warn")
    assert text == f"209 MB free in {scarce} (what is remembered between starts)"
    assert remedy == f"make room in {scarce}"
    writers = "output.events_jsonl, recorder"
    assert "mount it writable" in faults[f"{readonly} ({writers}): read-only file system"]


def test_what_a_board_had_since_its_start_is_a_warning(tmp_path: Path) -> None:
    firmware = tmp_path / "soc" / "soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("80000\n")
    full = tmp_path / "full"
    full.mkdir()
    prefix = in_own_mounts(
        f"mount --bind {tmp_path} /sys/devices/platform && mount -t tmpfs -o size=1m tmpfs"
        f" /sys/class/thermal && mount -t tmpfs -o size=64k tmpfs /mnt && ! cp /dev/zero /mnt/fill"
    )
    config = toml(tmp_path, '[output]\njsonl = "/mnt/out.jsonl"\n')
    report = examine("power", "disk", config=config, prefix=prefix)
    text, remedy = report.only("power", "warn")
    assert text == "since its start the board had: soft temperature limit"
    assert "heat sink" in remedy
    text, remedy = report.only("disk", "fail")
    assert text == "/mnt (output.jsonl): no space left on device"
    assert remedy == "make room in /mnt"


CLOCK = "int adjtimex(void *timex) { ((int *)timex)[10] = %d; return %d; }\n"


@pytest.mark.parametrize(("status", "state", "level"), [(0x40, 5, "warn"), (0x2001, 0, "ok")])
def test_a_clock_that_no_service_keeps(tmp_path: Path, status: int, state: int, level: str) -> None:
    library = compiled(tmp_path, "clock", CLOCK % (status, state))
    report = examine("clock", LD_PRELOAD=str(library))
    text, remedy = report.only("clock", level)
    if level == "warn":
        assert "kept by no time service" in text
        assert "timedatectl set-ntp true" in remedy


def test_a_clock_that_begins_in_the_past() -> None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    report = examine(
        "clock", LD_PRELOAD=str(found[0]), FAKETIME="@2001-01-01 00:00:00", NO_FAKE_STAT="1"
    )
    text, remedy = report.only("clock", "fail")
    assert text.startswith("says 2001-01-01, but edgecam is here since 20")
    assert "time server" in remedy


def doctored(folder: Path, package: str, **replaced: str | None) -> Path:
    """A folder with a copy of an installed package, in which files are replaced or emptied."""
    copy = folder / package
    shutil.copytree(SITE / package, copy, symlinks=True, copy_function=os.symlink)
    for info in SITE.glob(f"{package}-*.dist-info"):
        (folder / info.name).symlink_to(info)
    for pattern, text in replaced.items():
        (original,) = copy.glob(f"{pattern}*")
        data = original.read_text() if original.suffix == ".py" else ""
        original.unlink()
        original.write_text((data + text) if text is not None else "")
    return folder


@pytest.mark.skipif(not (SITE / "ai_edge_litert").is_dir(), reason="LiteRT is not installed")
class TestBrokenRuntimes:
    def test_a_library_of_it_is_cut_off(self, tmp_path: Path) -> None:
        place = doctored(tmp_path, "ai_edge_litert", _pywrap_litert_interpreter_wrapper=None)
        report = examine("runtime", PYTHONPATH=str(place))
        text, remedy = report.only("runtime", "fail")
        assert "is installed but cannot be imported" in text
        assert "reinstall it" in remedy
        assert report.code == 1

    def test_it_was_built_for_another_numpy(self, tmp_path: Path) -> None:
        """It imports, and its own words come when an interpreter is constructed."""
        words = "\nclass Interpreter:\n    def __init__(self, **_):\n        "
        words += "raise ValueError('numpy.core.multiarray failed to import')\n"
        report = examine(
            "runtime", PYTHONPATH=str(doctored(tmp_path, "ai_edge_litert", interpreter=words))
        )
        text, remedy = report.only("runtime", "fail")
        assert "numpy.core.multiarray failed to import" in text
        assert "does not run a model that is as it should be" in text
        assert "pip install --force-reinstall --no-cache-dir ai-edge-litert numpy" in remedy

    def test_it_was_built_for_another_processor(self, tmp_path: Path) -> None:
        """Loading it kills Python; the examination goes on."""
        place = doctored(tmp_path, "ai_edge_litert", _pywrap_litert_interpreter_wrapper=None)
        (target,) = (place / "ai_edge_litert").glob("_pywrap_litert_interpreter_wrapper*")
        text = "#include <signal.h>\n__attribute__((constructor)) static void load(void)"
        trap = compiled(tmp_path, "trap", text + " { raise(SIGILL); }\n")
        target.unlink()
        shutil.copy(trap, target)
        report = examine("runtime", "disk", PYTHONPATH=str(place))
        text, remedy = report.only("runtime", "fail")
        assert text == "kills Python: SIGILL"
        assert "built for this processor" in remedy
        assert report.of("disk", "ok")
        assert report.code == 1


HANG = """
#include <unistd.h>
__attribute__((constructor)) static void load(void) { for (;;) pause(); }
"""


def test_a_check_that_hangs_is_ended_and_reported(tmp_path: Path) -> None:
    """A delegate that never returns from being loaded, as with a device that does not wake."""
    library = compiled(tmp_path, "hang", HANG)
    config = toml(tmp_path, f'inference.delegate = "{library}"\n')
    report = examine("delegate", "disk", config=config, options=("--timeout-s", "1"))
    text, remedy = report.only("delegate", "fail")
    assert text == "the check does not end within 1 s"
    assert remedy == "set inference.delegate to auto, or fix the delegate"
    assert report.of("disk", "ok")
    assert report.code == 1


def test_a_python_that_is_not_supported() -> None:
    """No other Python is at hand: this one says of itself that it is one."""
    code = """
import sys
from edgecam.__main__ import main
import edgecam.cli.commands.doctor
sys.version_info = (3, 10, 9, "final", 0)
sys.argv = ["edgecam", "doctor", "python", "--json"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    report = Report(done)
    assert report.only("python", "warn")[1].startswith("use Python 3.11 to 3.14")
    assert report.code == 0


def test_a_folder_that_this_user_may_not_write(tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir(mode=0o555)
    prefix = in_own_devices(tmp_path, "true")
    report = examine("disk", prefix=prefix, EDGECAM_CACHE_DIR=str(place))
    text, remedy = report.only("disk", "fail")
    assert text == f"{place} (what is remembered between starts): permission denied"
    assert remedy == f"let this user write there: sudo chown $USER {place}"
    assert report.code == 1
    place.chmod(0)
    inside = examine("disk", prefix=prefix, EDGECAM_CACHE_DIR=str(place / "in"))
    assert inside.only("disk", "fail") == (text, remedy)


def test_numpy_is_broken(tmp_path: Path) -> None:
    """Nothing of edgecam can be imported then; one line says so."""
    place = doctored(tmp_path, "numpy")
    (library,) = (place / "numpy" / "_core").glob("_multiarray_umath*.so")
    library.unlink()
    library.write_text("")
    done = subprocess.run(
        DOCTOR,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("edgecam: error: a package that edgecam needs cannot be imported:")
    assert "pip install --force-reinstall numpy" in line


def test_an_edge_tpu_on_pcie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "apex_0"
    node.touch()
    monkeypatch.setattr(usb, "EDGETPU_PCIE", node)
    monkeypatch.setattr(usb, "DEVICES", tmp_path / "none")
    (line,) = usb.edgetpu(None)  # type: ignore[arg-type]
    assert f"attached on PCIe ({node})" in line.text
