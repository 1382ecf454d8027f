"""``edgecam doctor`` and systemd: units weak, broken or masked, and a systemd that is stuck."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doctors import Report, examine, in_own_mounts, toml
from programs import ROOT

from edgecam.core.errors import EdgecamError
from edgecam.tools.doctor import units


def program(folder: Path, name: str, script: str) -> str:
    """A PATH in which ``script`` stands before everything else of that name."""
    place = folder / "bin"
    place.mkdir()
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(0o755)
    return f"{place}{os.pathsep}{os.environ['PATH']}"


def running() -> list[list[str]]:
    """The words of every command that runs on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((folder / "cmdline").read_text().split("\0")[:-1])
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
class TestUnits:
    def install(self, root: Path, name: str) -> Path:
        command = ["service", "install", name, "--model", "posenet", "--source", "rtsp://c/s"]
        done = subprocess.run(
            [sys.executable, "-m", "edgecam", *command, "--root", str(root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return root / "etc/systemd/system" / f"edgecam@{name}.service"

    def seen(
        self,
        root: Path,
        config: Path | None = None,
        options: tuple[str, ...] = (),
        **variables: str,
    ) -> Report:
        units = root / "etc/systemd/system"
        units.mkdir(parents=True, exist_ok=True)
        prefix = in_own_mounts(f"mount --bind {units} /etc/systemd/system")
        return examine("unit", config=config, prefix=prefix, options=options, **variables)

    def test_none_is_installed(self, tmp_path: Path) -> None:
        text, remedy = self.seen(tmp_path).only("unit", "warn")
        assert text == "no edgecam@camera.service: this camera does not start at boot"
        assert "edgecam service install camera" in remedy

    def test_as_installed_it_is_in_order_but_not_enabled(self, tmp_path: Path) -> None:
        unit = self.install(tmp_path, "front")
        config = toml(tmp_path, 'name = "front"\n')
        report = self.seen(tmp_path, config)
        text, _ = report.only("unit", "ok")
        assert text.startswith("/etc/systemd/system/edgecam@front.service: accepted by systemd")
        assert float(text.split()[-3]) <= 2.0
        text, remedy = report.only("unit", "warn")
        assert "does not start at boot" in text
        assert remedy == "sudo systemctl enable --now edgecam@front.service"
        wants = unit.parent / "multi-user.target.wants"
        wants.mkdir()
        (wants / unit.name).symlink_to("/etc/systemd/system/edgecam@front.service")
        assert not self.seen(tmp_path, config).of("unit", "warn")

    def test_masked_and_emptied(self, tmp_path: Path) -> None:
        masked, emptied = self.install(tmp_path, "masked"), self.install(tmp_path, "emptied")
        masked.unlink()
        masked.symlink_to("/dev/null")
        emptied.write_text("")
        said = {f["text"]: f["remedy"] for f in self.seen(tmp_path).of("unit")}
        reported = "/etc/systemd/system/edgecam@{}.service: masked, this camera does not start"
        unmask = "sudo systemctl unmask edgecam@masked.service"
        again = "sudo edgecam service uninstall, then install, makes it again"
        assert said == {reported.format("masked"): unmask, reported.format("emptied"): again}

    def test_a_systemd_that_is_too_old_to_score_a_file(self, tmp_path: Path) -> None:
        """As Debian 11 has it, which knows no --offline; all else is this machine's."""
        self.install(tmp_path, "front")
        real = shutil.which("systemd-analyze")
        old = f"""case "$*" in
            *--offline*) echo "systemd-analyze: unrecognized option '--offline=true'" >&2; exit 1;;
        esac
        exec {real} "$@"
        """
        report = self.seen(tmp_path, PATH=program(tmp_path, "systemd-analyze", old))
        (text, remedy), *_ = [(f["text"], f["remedy"]) for f in report.of("unit", "warn")]
        assert "edgecam@front.service: its security score is unknown" in text
        assert "systemd 250 or later" in text
        assert remedy.endswith("systemctl cat edgecam@front.service")
        assert report.code == 0

    def test_a_systemd_that_does_not_answer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the check has started ends with it."""
        unit = self.install(tmp_path, "front")
        place = program(tmp_path, "systemd-analyze", "exec sleep 97.3")
        report = self.seen(tmp_path, options=("--timeout-s", "1"), PATH=place)
        text, remedy = report.only("unit", "fail")
        assert text == "the check does not end within 1 s"
        assert remedy == "look into the system's log: journalctl -b"
        assert not [command for command in running() if command == ["sleep", "97.3"]]
        monkeypatch.setenv("PATH", place)
        monkeypatch.setattr(units, "ANSWER_S", 0.2)
        with pytest.raises(EdgecamError, match=r"systemd-analyze does not answer within 0\.2 s"):
            units.exposure(unit)

    def test_weakened_and_broken(self, tmp_path: Path) -> None:
        weak, broken = self.install(tmp_path, "weak"), self.install(tmp_path, "broken")
        drop_in = weak.with_name(f"{weak.name}.d") / "weak.conf"
        drop_in.write_text("[Service]\nDynamicUser=no\nProtectSystem=no\nNoNewPrivileges=no\n")
        text = broken.read_text()
        start = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        broken.write_text(text.replace(start, "ExecStart=/opt/gone/edgecam --config /etc/x.toml"))
        report = self.seen(tmp_path)
        (weakened,) = [f for f in report.of("unit", "warn") if "exposes" in f["text"]]
        assert "edgecam@weak.service" in weakened["text"]
        assert "systemctl cat edgecam@weak.service" in weakened["remedy"]
        text, remedy = report.only("unit", "fail")
        assert "edgecam@broken.service: systemd does not accept it" in text
        assert "/opt/gone/edgecam" in text
        assert "service uninstall, then install" in remedy
        assert not [f for f in report.of("unit") if "edgecam@camera" in f["text"]]


@pytest.mark.parametrize(("age_s", "level"), [(30.0, "warn"), (3600.0, "ok")])
def test_a_unit_that_was_started_again_lately_is_no_loop_once_it_lasts(
    age_s: float, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = int((10_000.0 - age_s) * 1e6)
    said = f"ActiveState=active\nNRestarts=3\nActiveEnterTimestampMonotonic={entered}\n"
    monkeypatch.setattr(units, "_run", lambda *_: (0, said))
    monkeypatch.setattr("time.monotonic", lambda: 10_000.0)
    (finding,) = units._state(Path("edgecam@front.service"))
    assert finding.level == level
    assert "edgecam@front.service runs" in finding.text
