"""Which runtime is taken, in real environments: this one, and poorer ones made of its parts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from doctors import examine
from programs import CLIP, edgecam

from edgecam.inference import catalog as bundled
from edgecam.inference import runtime

ROOT = Path(__file__).parents[2]
SITE = Path(np.__file__).parent.parent
MODEL = bundled.resolve("posenet")
FIND = (
    "from edgecam.inference import runtime; found = runtime.find(); "
    "print(found.name, found.version)"
)


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def python_with(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` where nothing is installed but what lies in ``folder``, and edgecam."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def only_numpy(tmp_path: Path) -> Path:
    for part in SITE.glob("numpy*"):
        (tmp_path / part.name).symlink_to(part)
    return tmp_path


def test_the_extra_selects_tflite_runtime_and_litert_is_the_default() -> None:
    found = runtime.find()
    old, new = installed("tflite-runtime"), installed("ai-edge-litert")
    if old is not None and int(np.__version__.split(".")[0]) < 2:
        assert (found.name, found.version) == ("tflite-runtime", old)
    else:
        assert (found.name, found.version) == ("ai-edge-litert", new)
    assert found.interpreter is not None


def test_without_any_runtime_it_says_what_to_install(only_numpy: Path) -> None:
    done = python_with(only_numpy, FIND)
    assert done.returncode == 1
    assert "no TFLite runtime found; run: pip install ai-edge-litert" in done.stderr


def test_a_runtime_that_does_not_import_is_named(only_numpy: Path) -> None:
    package = only_numpy / "ai_edge_litert"
    package.mkdir()
    # What is left of an installation whose native part was removed or built for another Python.
    (package / "interpreter.py").write_text("from ai_edge_litert import _missing_native_part\n")
    (package / "__init__.py").write_text("")
    done = python_with(only_numpy, FIND)
    assert done.returncode == 1
    assert "ai-edge-litert unknown is installed but cannot be imported" in done.stderr
    assert "_missing_native_part" in done.stderr


@pytest.mark.skipif(installed("tensorflow") is None, reason="TensorFlow is not installed")
def test_tensorflow_serves_where_nothing_else_is_installed(tmp_path: Path) -> None:
    for part in SITE.iterdir():
        if not part.name.startswith(("ai_edge_litert", "tflite_runtime", "__pycache__")):
            (tmp_path / part.name).symlink_to(part)
    code = (
        "from pathlib import Path\n"
        "from edgecam.inference import probe; from edgecam.inference import runtime\n"
        "found = runtime.find()\n"
        f"probe.run(Path({str(MODEL)!r}), found, ('1', '-', 'cpu'))\n"
        "print(found.name)"
    )
    done = python_with(tmp_path, code)
    assert done.stdout.split() == ["tensorflow"], done.stderr


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="this environment has NumPy 1")
class TestTfliteRuntimeBesideNumpy2:
    def test_alone_it_is_refused_with_the_remedy(
        self, only_numpy: Path, tflite_runtime: Path
    ) -> None:
        for part in tflite_runtime.glob("tflite_runtime*"):
            (only_numpy / part.name).symlink_to(part)
        done = python_with(only_numpy, FIND)
        assert done.returncode == 1
        assert f"tflite-runtime 2.14.0 needs NumPy below 2, found {np.__version__}" in done.stderr
        assert "pip install 'numpy<2' 'opencv-python<4.12'" in done.stderr

    def test_the_refusal_has_a_reason(self, only_numpy: Path, tflite_runtime: Path) -> None:
        for part in tflite_runtime.glob("tflite_runtime*"):
            (only_numpy / part.name).symlink_to(part)
        imports = python_with(only_numpy, "import tflite_runtime.interpreter; print('imported')")
        assert "imported" in imports.stdout
        constructs = python_with(
            only_numpy,
            f"from tflite_runtime.interpreter import Interpreter; Interpreter({str(MODEL)!r})",
        )
        assert constructs.returncode != 0
        assert "numpy.core.multiarray failed to import" in constructs.stderr

    def test_beside_litert_it_is_passed_over(self, tflite_runtime: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{tflite_runtime}{os.pathsep}{ROOT}"}
        code = FIND + "; print(*runtime.survey()[1])"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("ai-edge-litert ")
        assert "tflite-runtime 2.14.0 needs NumPy below 2" in done.stdout


def test_a_model_that_this_runtime_runs_badly_is_named_at_start(tmp_path: Path) -> None:
    """Of the bundled PoseNets the int8 one, where tflite-runtime runs it on x86-64."""
    said = {}
    for model in ("posenet", "posenet-fp16"):
        done = edgecam(
            *("--model", model, "--source", CLIP, "--max-frames", "1"),
            *("--input-size", "129x129", "--jsonl", tmp_path / "lines"),
        )
        assert done.returncode == 0, done.stderr
        said[model] = "take a float one such as posenet-fp16" in done.stderr
    slow = runtime.find().name == "tflite-runtime" and platform.machine() == "x86_64"
    assert said == {"posenet": slow, "posenet-fp16": False}


def test_the_doctor_tells_of_a_runtime_that_is_slow_here() -> None:
    report = examine("runtime")
    if runtime.find().name == "tflite-runtime" and platform.machine() == "x86_64":
        text, remedy = report.only("runtime", "warn")
        assert "runs quantised models 10 to 27 times slower" in text
        # People who have it asked for it.
        assert remedy.startswith("give it float models, such as posenet-fp16")
    else:
        assert report.only("runtime", "ok")[0].endswith("constructs and invokes")
    assert report.code == 0
