"""Commands that look at no picture start without what pictures need."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from edgecam.cli.main import main
try:
    main()
except SystemExit:
    pass
print("\\nloaded:", *sorted({"numpy", "cv2"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("line", ["--help", "status nosuch", "top --help", "init --help"])
def test_a_command_without_pictures_loads_neither_numpy_nor_opencv(line: str) -> None:
    command = [sys.executable, "-c", CODE, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "loaded:", done.stderr
