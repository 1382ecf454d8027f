"""Damaged copies of the bundled models: refused, or run; never the end of the daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import CLIP, edgecam, environment, error_line

from edgecam.inference import catalog as bundled

DAMAGE = Path(__file__).parents[1] / "damage.py"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("counts", ["6,14,6", pytest.param("200,500,100", marks=pytest.mark.long)])
@pytest.mark.parametrize("card", bundled.cards(), ids=lambda card: card.name)
def test_a_damaged_copy_never_ends_the_daemon(card: bundled.Card, counts: str) -> None:
    done = subprocess.run(
        [sys.executable, str(DAMAGE), str(card.file), counts, "1"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    print(f"\n{card.name} on {found['runtime']}: {found['outcomes']}")
    assert found["bad"] == []
    assert found["unnoticed"] == 0
    assert found["outcomes"]["refused"] > 0


def test_the_command_refuses_a_damaged_model_in_one_line(tmp_path: Path) -> None:
    """The whole way, with a probe in a new interpreter."""
    card = bundled.cards()[0]
    data = card.file.read_bytes()
    copy = tmp_path / card.file.name
    for damaged in (data[: len(data) // 2], bytes(4096) + data[4096:]):
        copy.write_bytes(damaged)
        done = edgecam("--model", copy, "--source", CLIP, EDGECAM_CACHE_DIR=str(tmp_path))
        assert str(copy) in error_line(done)
        (tmp_path / card.path.name).write_bytes(card.path.read_bytes())
        done = edgecam("--model", copy, "--source", CLIP, EDGECAM_CACHE_DIR=str(tmp_path))
        assert "does not match its card" in error_line(done)
        os.remove(tmp_path / card.path.name)
