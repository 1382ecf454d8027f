"""The real load path of a delegate: a shared library that the system's C compiler makes here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from programs import environment

from edgecam.core.errors import DelegateError, ModelError
from edgecam.inference.delegates import choose
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings

SOURCE = Path(__file__).parents[1] / "native" / "noop_delegate.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: install gcc to test external delegates")
    made = tmp_path_factory.mktemp("delegate") / "libnoop.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, SOURCE], check=True)
    return made


def load(delegate: str, required: bool = False) -> Model:
    inference = InferenceSettings(delegate=delegate, delegate_required=required, threads=1)
    return Model(ModelSettings(path="posenet"), inference)


def test_a_delegate_gets_its_options_and_is_named_as_what_runs(
    library: Path, tmp_path: Path
) -> None:
    log = tmp_path / "options"
    model = load(f"{library}:take=all,log={log},device=usb")
    assert log.read_text().split() == ["take=all", f"log={log}", "device=usb"]
    assert model.delegate.active == "libnoop.so"
    assert model.delegate.nodes_delegated == model.delegate.nodes
    assert model.delegate.fallback is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("refuse=no device", "no device"),
        ("prepare=error", "delegate application failure"),
        ("take=none", "takes none of the nodes"),
    ],
)
def test_one_that_does_not_run_the_model_falls_back_with_its_reason(
    library: Path, options: str, reason: str
) -> None:
    model = load(f"{library}:{options}")
    assert model.delegate.active in ("xnnpack", "cpu")
    assert model.delegate.fallback is not None
    assert reason in model.delegate.fallback
    with pytest.raises(DelegateError, match=reason):
        load(f"{library}:{options}", required=True)


def test_one_that_kills_the_process_kills_only_the_probe(library: Path) -> None:
    with pytest.raises(ModelError, match="SIGABRT"):
        load(f"{library}:prepare=crash")


@pytest.mark.parametrize("name", ["edgetpu", "gpu", "nnapi", "/nonexistent/libdelegate.so"])
def test_a_library_that_is_not_there_falls_back_with_its_reason(name: str) -> None:
    model = load(name)
    assert model.delegate.active in ("xnnpack", "cpu")
    assert model.delegate.fallback is not None
    assert "cannot open shared object file" in model.delegate.fallback
    library = model.delegate.fallback.partition(":")[0]
    assert model.delegate.fallback.count(f"{library}:") == 1
    with pytest.raises(DelegateError, match="--delegate-required"):
        load(name, required=True)


def test_a_library_that_is_no_delegate_falls_back_quietly(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from ctypes.util import find_library

    name = find_library("z") or find_library("c")
    assert name is not None
    model = load(f"./{name}" if Path(name).is_file() else name)
    assert model.delegate.fallback is not None
    assert "tflite_plugin_create_delegate" in model.delegate.fallback
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_no_delegate_at_all_is_refused() -> None:
    with pytest.raises(DelegateError, match="expected one of auto, cpu, edgetpu, gpu, nnapi"):
        choose("coral", needs_edgetpu=False)
    with pytest.raises(DelegateError, match="found the option 'device'"):
        choose("/lib/libx.so:device", needs_edgetpu=False)


def test_auto_takes_the_edge_tpu_for_its_models_only() -> None:
    assert choose("auto", needs_edgetpu=True).library == "libedgetpu.so.1"
    assert choose("auto", needs_edgetpu=False).library is None
    report = load("auto").delegate
    assert report.fallback is None
    assert msgspec.json.encode(report)


# A device that one process alone can open, as an Edge TPU

CAMERAS = '[[camera]]\nname = "{}"\nsource = "demo"\nmax_frames = 2\n'


def opened(node: Path, pid: int) -> list[str]:
    """What a process did with the device, in order."""
    lines = map(str.split, node.read_text().splitlines())
    return [what for what, who in lines if int(who) == pid]


def house(folder: Path, library: Path, models: Sequence[str], cameras: Sequence[str]) -> Path:
    node, path = folder / "node", folder / f"house-{len(cameras)}.toml"
    node.touch()
    head = f'[inference]\ndelegate = "{library}:take=all,node={node}"\nthreads = 1\n'
    tables = "".join(f'[[model]]\npath = "{model}"\n' for model in models)
    path.write_text(head + tables + "".join(map(CAMERAS.format, cameras)))
    return path


def run_with(config: Path, cache: Path) -> tuple[int, str]:
    """Its process id and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecam", "--config", config],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**environment(), "EDGECAM_CACHE_DIR": str(cache)},
    )
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return process.pid, said


@pytest.mark.parametrize("models", [("posenet",), ("posenet", "nanodet")])
def test_four_cameras_open_the_device_once_for_each_model(
    library: Path, tmp_path: Path, models: tuple[str, ...]
) -> None:
    config = house(tmp_path, library, models, ("front", "hall", "yard", "attic"))
    pid, said = run_with(config, tmp_path)
    assert "fell back" not in said
    assert said.count("on libnoop.so") == 4 * len(models)
    assert opened(tmp_path / "node", pid).count("open") == len(models)


def test_another_process_is_refused_meanwhile_and_says_so(library: Path, tmp_path: Path) -> None:
    config = house(tmp_path, library, ("posenet",), ("front",))
    held = load(f"{library}:take=all,node={tmp_path / 'node'}")
    assert opened(tmp_path / "node", os.getpid()) == ["open"]
    pid, said = run_with(config, tmp_path)
    assert "fell back to xnnpack" in said
    assert "the device is busy" in said
    assert opened(tmp_path / "node", pid) == []
    assert held.delegate.active == "libnoop.so"


def test_one_that_leaves_nodes_to_others_is_closed_before_it_is_opened_again(
    library: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.touch()
    model = load(f"{library}:take=most,node={node}")
    assert model.delegate.active == "libnoop.so"
    # One of the delegate, one of the runtime's own for what it left.
    assert model.delegate.partitions == 2
    assert opened(node, os.getpid()) == ["open", "close", "open"]
