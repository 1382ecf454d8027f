"""The document edge network in Keras: its shape, its export, and that training teaches it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from programs import ROOT, edgecam

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.tools.train.coco import TrainError

keras = pytest.importorskip("keras", reason="the extra [tensorflow] is not installed")


@pytest.fixture(scope="module")
def network() -> object:
    from edgecam.tools.train.hed import hed

    return hed()


def test_it_has_a_side_output_at_each_of_five_scales(network: keras.Model) -> None:
    assert [tuple(each.shape) for each in network.outputs] == [(None, 128, 128, 1)] * 6
    scales = {
        layer.output.shape[1]
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.filters == 1 and layer.name != "fuse"
    }
    assert scales == {128, 64, 32, 16, 8}
    assert network.count_params() < 130_000


def test_upsampling_has_no_weights(network: keras.Model) -> None:
    kinds = {type(layer).__name__ for layer in network.layers}
    assert "UpSampling2D" in kinds
    assert "Conv2DTranspose" not in kinds


def test_exported_it_has_no_batch_norm_left(network: keras.Model, tmp_path: Path) -> None:
    from edgecam.tools.train.hed import exported

    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # As trained: statistics and scales that are not those of the start.
            layer.set_weights([rng.uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
    exported(network).save(tmp_path / "hed.keras")
    output = tmp_path / "hed.tflite"
    done = CliRunner().invoke(cli, ["convert", str(tmp_path / "hed.keras"), "-o", str(output)])
    assert done.exit_code == 0, done.output
    made = read(output.read_bytes(), "hed")
    ops = [op.name for op in made.main.ops]
    assert set(ops) == {
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "ADD",
        "RESIZE_BILINEAR",
        "CONCATENATION",
        "LOGISTIC",
    }
    # Only the shortcuts and the way back up add: 7 inverted residuals and 4 scales.
    assert ops.count("ADD") == 11
    # What ships was made of this network.
    assert kernels(made) == kernels(read(bundled.resolve("documents").read_bytes(), "documents"))


def kernels(file: ModelFile) -> list[tuple[str, tuple[int, ...]]]:
    return sorted(
        (op.name, file.main.tensors[op.inputs[1]].shape)
        for op in file.main.ops
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
    )


@pytest.mark.long
def test_training_teaches_it(tmp_path: Path) -> None:
    from edgecam.tools.train.documents.training import Progress, held_out_loss, render_set, train
    from edgecam.tools.train.hed import hed

    pairs = render_set(tmp_path, 0, 64, 2, print)
    seen: list[Progress] = []
    train(pairs, pairs, 2.0, tmp_path / "hed.weights.h5", seen.append)
    # 0.64 of it after 169 steps, 0.82 after the 98 that a busy machine came to in that time.
    assert seen[-1].loss < min(0.8, 0.9 * held_out_loss(hed(), pairs))
    assert (tmp_path / "hed.weights.h5").is_file()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_command_makes_a_network_that_scan_uses(tmp_path: Path) -> None:
    """Two minutes on 64 pages are enough for a sheet on a dark table; a busy machine goes on."""
    made, model = tmp_path / "documents.keras", tmp_path / "documents.tflite"
    page, flat = ROOT / "tests" / "data" / "documents" / "printout.jpg", tmp_path / "flat.png"
    short = ("--minutes", 2, "--scenes", 64, "--keep", tmp_path / "work")
    for _ in range(3):
        # A process of its own: TensorFlow takes its number of threads once.
        done = edgecam("train", "documents", *short, "-o", made, timeout_s=600)
        assert done.returncode == 0, done.stderr
        assert re.search(r"100\.0%: \d+ steps of 16, held-out loss", done.stderr)
        done = edgecam("convert", made, "-o", model)
        assert done.returncode == 0, done.stderr
        done = edgecam("scan", page, "-m", model, "--score-threshold", 0.2, "-o", flat)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    height, width = cv2.imread(str(flat)).shape[:2]
    assert width / height == pytest.approx(0.72, abs=0.06)


@pytest.mark.long
def test_kinds_of_upsampling_are_compared_in_both_forms() -> None:
    """Bilinear took 1.5 times less on an x86-64."""
    pytest.importorskip("litert_quantizer", reason="the extra [quantize] is not installed")
    command = [sys.executable, "scripts/compare-upsampling", "--rounds", "60", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {(row["upsampling"], row["form"]): row for row in json.loads(done.stdout)}
    kinds = {(kind, form) for kind in ("transposed", "bilinear") for form in ("float32", "int8")}
    assert kinds <= set(rows)
    assert all(row["cpu_ms"] > 0 for row in rows.values())


def test_the_command_refuses_before_it_renders(tmp_path: Path) -> None:
    output = tmp_path / "nowhere" / "documents.keras"
    done = CliRunner().invoke(cli, ["train", "documents", "-o", str(output)])
    assert done.exit_code == 1
    assert "there is no folder" in done.output
    done = CliRunner().invoke(cli, ["train", "documents", "-o", str(tmp_path / "documents.h5")])
    assert done.exit_code == 2


def go_on(folder: Path) -> None:
    """A batch of pages and no time, with what lies in ``folder``."""
    from edgecam.tools.train.documents.training import BATCH, render_set, train

    pairs = render_set(folder, 0, BATCH, 1, print)
    train(pairs, pairs, 1e-9, folder / "hed.weights.h5", lambda _progress: None)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training keeps to go on from."""
    folder = tmp_path_factory.mktemp("begun")
    go_on(folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"hed.weights.h5", "edges-0-16.npy", "images-0-16.npy"}
    return folder


@pytest.mark.parametrize("name", ["hed.weights.h5", "edges-0-16.npy", "images-0-16.npy"])
@pytest.mark.parametrize("content", [b"", b"no such thing", None])
def test_what_is_damaged_of_an_earlier_run_is_named_in_a_line(
    begun: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    shutil.copytree(begun, tmp_path / "kept")
    path = tmp_path / "kept" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    with pytest.raises(TrainError, match=f"{path}: expected .*; remove it") as caught:
        go_on(tmp_path / "kept")
    assert "\n" not in str(caught.value)


def test_pages_that_do_not_fit_on_the_disk_are_not_begun(tmp_path: Path) -> None:
    from edgecam.tools.train.documents.training import render_set

    with pytest.raises(TrainError, match="give fewer --scenes"):
        render_set(tmp_path, 0, 1 << 40, 1, print)
    assert not list(tmp_path.iterdir())


def test_the_folder_to_keep_is_tried_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/kept")):
        command = ["train", "documents", "--keep", str(folder), "-o", str(tmp_path / "y.keras")]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"edgecam: error: cannot write into {folder}: ")
        assert done.stderr.count("\n") == 1
