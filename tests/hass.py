"""An unmodified Home Assistant for the tests, in a virtual environment of its own."""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT

REQUIREMENTS = "tests/data/homeassistant/requirements.txt"
VENV = ROOT / ".venv-homeassistant"
TODAY = ROOT / ".root-homeassistant"
SERVER = Path(__file__).parent / "servers" / "home_assistant.py"


@functools.cache
def python() -> Path:
    """The Python that has Home Assistant; the test skips where it cannot be installed."""
    done = subprocess.run(
        [ROOT / "scripts" / "venv", VENV.name, "--no-deps", "-r", REQUIREMENTS],
        env={**os.environ, "VERSIONS": "3.11"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Home Assistant cannot be installed: {done.stderr.strip()[-300:]}")
    return VENV / "bin" / "python"


@functools.cache
def root_of_today() -> Path:
    """A root directory with Home Assistant 2026.11 on Python 3.14; the test skips without one."""
    if os.geteuid() != 0:
        pytest.skip("a root directory of Debian testing is made by root alone")
    done = subprocess.run(
        [ROOT / "scripts" / "homeassistant-root", TODAY],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Home Assistant 2026 cannot be installed: {done.stderr.strip()[-300:]}")
    shutil.copy(SERVER, TODAY / "server.py")
    return TODAY


class HomeAssistant:
    """One run on a configuration directory; what it knows survives into the next run there."""

    def __init__(
        self, folder: Path, port: int, configuration: str = "", today: Path | None = None
    ) -> None:
        """``configuration`` is that of configuration.yaml; ``folder`` is below ``today``."""
        folder.mkdir(exist_ok=True)
        (folder / "configuration.yaml").write_text(configuration)
        self._log = (folder / "stderr").open("ab")
        command: list[str | Path] = [python(), SERVER, folder] if today is None else []
        if today is not None:
            inside = "/" / folder.relative_to(today)
            command = ["chroot", today, "/ha/bin/python", "/server.py", inside]
        self._process = subprocess.Popen(
            [*command, str(port)],
            env={**os.environ, **({} if today is None else {"HOME": "/root", "TMPDIR": "/tmp"})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            assert self._read() == {"started": True}
        except BaseException:
            self.close()
            raise

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"Home Assistant has ended: {Path(self._log.name).read_text()[-2000:]}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **data: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **data}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def states(self) -> dict[str, str]:
        """Entity id -> state."""
        return {key: value["state"] for key, value in self.ask("states").items()}

    def attributes(self, entity_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("states")[entity_id]["attributes"]
        return found

    def picture(self, entity_id: str) -> bytes | None:
        data = self.ask("picture", entity_id=entity_id)
        return None if data is None else base64.b64decode(data)

    def stop(self) -> None:
        """As a person restarts it: states are stored, ``offline`` is published."""
        self.ask("stop")
        self._process.wait(120)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
