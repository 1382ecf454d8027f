"""What ships under models/ is what its packages give when it is built again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgecam.inference import catalog as bundled

ROOT = Path(__file__).parents[2]
MAX_BYTES = 25_000_000


def test_models_are_small_in_all() -> None:
    files = [path for path in (ROOT / "models").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES


def test_aliases_name_one_model_each() -> None:
    names = [name for card in bundled.cards() for name in (card.name, *card.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.long
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("posenet", "posenet_mobilenet_v1_075_fp16"),
        ("posenet-int8", "posenet_mobilenet_v1_075_int8"),
        ("lightning", "movenet_singlepose_lightning_int8"),
        ("thunder", "movenet_singlepose_thunder_int8"),
        ("nanodet", "nanodet_g_coco_int8"),
        ("ssdlite-int8", "ssdlite_mobilenet_v2_pedestrian_int8"),
    ],
)
def test_a_rebuild_gives_the_same_bytes(tmp_path: Path, part: str, name: str) -> None:
    if not part.startswith("ssdlite") and shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    if "int8" in name:
        pytest.importorskip("litert_quantizer", reason="the extra [quantize] is not installed")
    command = [sys.executable, "scripts/build-models", "--output", str(tmp_path), part]
    subprocess.run(command, cwd=ROOT, check=True)
    for suffix in (".tflite", ".toml"):
        shipped = (ROOT / "models" / name).with_suffix(suffix)
        assert (tmp_path / name).with_suffix(suffix).read_bytes() == shipped.read_bytes()
