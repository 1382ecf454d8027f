"""Plugins: a package of its own in a virtual environment of its own, with all four kinds."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from programs import CLIP, ROOT

from edgecam.core.errors import ModelError
from edgecam.core.tensors import RAW_PIXELS
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert import writer
from edgecam.tools.convert.lite import LiteModel, LiteOperator
from edgecam.tools.convert.metadata import AXIS_LABELS

PACKAGE = ROOT / "tests" / "data" / "plugin"
SIDE, CELLS = 32, 4


def wheel(folder: Path) -> Path:
    """The toy package as a wheel (PEP 427), made without a build backend, which no index gives."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    info = f"edgecam_toy-{project['version']}.dist-info"
    files = {
        f"edgecam_toy/{path.name}": path.read_text("utf-8")
        for path in sorted((PACKAGE / "edgecam_toy").glob("*.py"))
    } | {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: edgecam-toy\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(
        f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in files.items()
    )
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    path = folder / "edgecam_toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the toy package is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    found = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, *offline, str(wheel(folder))], check=True, timeout=600)
    # edgecam and what it needs are those of the environment that runs the tests.
    site = next((folder / "venv" / "lib").glob("python3*")) / "site-packages"
    host = sysconfig.get_path("purelib")
    (site / "host.pth").write_text(f"{ROOT}\nimport site; site.addsitedir({host!r})\n")
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that no family of edgecam knows: every eighth pixel, [1, 4, 4, 3]."""
    graph = LiteModel()
    picture = graph.tensor("picture", (1, SIDE, SIDE, 3))
    weights = graph.constant("weights", np.eye(3, dtype=np.float32).reshape(3, 1, 1, 3))
    bias = graph.constant("bias", np.zeros(3, np.float32))
    cells = graph.tensor("cells", (1, CELLS, CELLS, 3))
    stride = SIDE // CELLS
    options = {
        "padding": 0,
        "strideH": stride,
        "strideW": stride,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
        "fusedActivationFunction": 0,
    }
    graph.operators.append(LiteOperator("CONV_2D", (picture, weights, bias), (cells,), options))
    graph.inputs.append(picture)
    graph.outputs.append(cells)
    path = tmp_path_factory.mktemp("model") / "brightness.tflite"
    path.write_bytes(writer.write(graph, "brightness", RAW_PIXELS, [], 0, AXIS_LABELS))
    return path


def run(python: Path, config: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGECAM_")}
    return subprocess.run(
        [str(python), "-m", "edgecam", "--config", str(config), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=config.parent,
        env={**kept, "PYTHONPATH": ""},
    )


def configuration(folder: Path, model: object, source: str, plugins: str, tables: str = "") -> Path:
    path = folder / "edgecam.toml"
    path.write_text(
        f"plugins = {plugins}\nmax_frames = 12\n[[model]]\npath = {json.dumps(str(model))}\n"
        f"[source]\nurl = {json.dumps(source)}\n[inference]\nprobe = false\n{tables}"
    )
    return path


def test_a_plugin_brings_a_decoder_a_rule_a_source_and_a_sink(
    python: Path, model: Path, tmp_path: Path
) -> None:
    own = f'[plugin.toy]\nclip = "{CLIP}"\nlines = "{tmp_path / "lines"}"\n'
    config = configuration(tmp_path, model, "toy://", '["toy"]', own)
    done = run(python, config, "--events", tmp_path / "events", "--jsonl", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "brightness: brightness, input 32x32" in done.stderr
    assert (tmp_path / "lines").read_text() == "".join(f"{n} 1\n" for n in range(12))
    results = [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]
    assert [len(result["detections"]) for result in results] == [1] * 12
    reported = [
        json.loads(line)["event_type"] for line in (tmp_path / "events").read_text().splitlines()
    ]
    assert {"appeared", "toy_seen"} <= set(reported)


def test_a_plugin_that_fails_is_one_line_and_the_run_goes_on(python: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path, "posenet", str(CLIP), '["broken", "stumbling", "absent"]')
    done = run(python, config, "--jsonl", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    reported = {
        words: [line for line in lines if words in line]
        for words in ("no such luck", "divides by zero", "nowhere to go", "found 'absent'")
    }
    assert {words: len(found) for words, found in reported.items()} == dict.fromkeys(reported, 1)
    assert "installed: broken, stumbling, toy" in reported["found 'absent'"][0]
    assert "plugin broken: edgecam goes on without its rules" in reported["no such luck"][0]
    assert len((tmp_path / "results").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[plugin.toy]\nclip = 3\n", "plugin.toy: clip: Expected text, found 3"),
        ('[plugin.toy]\nclip = ""\nlines = ""\nlable = ""\n', "(did you mean 'label'?)"),
        ("[plugin.other]\nx = 1\n", "Expected other in plugins"),
    ],
)
def test_settings_that_a_plugin_refuses_are_one_line(
    python: Path, tmp_path: Path, table: str, words: str
) -> None:
    done = run(python, configuration(tmp_path, "posenet", str(CLIP), '["toy"]', table))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]


def test_a_plugin_that_no_setting_lists_is_not_loaded(python: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path, "posenet", str(CLIP), "[]")
    code = (
        "import sys, threading; from pathlib import Path; from edgecam.daemon.run import run\n"
        "from edgecam.settings.load import load\n"
        f"run(load(Path({str(config)!r}), {{}}, {{}}), threading.Event())\n"
        "print([n for n in sys.modules if 'toy' in n or 'plugged' in n])"
    )
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_model_is_refused_where_no_plugin_is_listed(model: Path) -> None:
    with pytest.raises(ModelError, match="no known family"):
        Model(ModelSettings(path=str(model)), InferenceSettings(probe=False))
