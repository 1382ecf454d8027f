"""A minimal Debian with edgecam's dependencies, made once, and the wheel of this commit in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "ca-certificates"),
    *("mosquitto", "mosquitto-clients", "procps", "iproute2"),
    # What OpenCV loads (README).
    *("libgl1", "libglib2.0-0"),
)
PREFIX = "/opt/edgecam"


class CannotRunError(Exception):
    """This machine cannot make such a root; the text says why."""


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgecam" / "board"


def _run(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise CannotRunError(f"{Path(str(command[0])).name}: {' / '.join(last)}")


def _remove(folder: Path) -> None:
    """Remove a root that was left half made.

    Raises:
        CannotRunError: something of this machine is mounted in it.
    """
    mounts = Path("/proc/self/mounts").read_text("utf-8", "replace")
    if f" {folder}/" in mounts:
        raise CannotRunError(
            f"something is still mounted below {folder}; see grep {folder} /proc/mounts, and umount"
        )
    shutil.rmtree(folder)


def wheel(folder: Path) -> Path:
    """The wheel of this working tree."""
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    return next(folder.glob("edgecam-*.whl"))


def base(*more: str) -> Path:
    """The kept root: Debian with ``more`` packages and the dependencies, without edgecam itself."""
    packages = (*PACKAGES, *more)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = (*project["dependencies"], *project["optional-dependencies"]["web"])
    wanted = f"{SUITE} {packages} {needs}"
    path = cache() / f"root-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if path.is_dir():
        return path
    for old in cache().glob("making-*"):
        # What a run that was ended left, not what another is making.
        if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
            _remove(old)
    making = cache() / f"making-{os.getpid()}"
    making.mkdir(parents=True)
    include = "--include=" + ",".join(packages)
    options = ("--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io")
    # In mount points of its own: where it is ended, none of this machine's /dev stays in the root.
    _run("unshare", "--mount", "mmdebstrap", *options, include, SUITE, making / "root")
    wheels = making / "root/root/wheels"
    python = ("python3.11", "-m", "pip", "wheel", "-q", "-w", wheels, f"{ROOT}[web]")
    _run(*(python if shutil.which("python3.11") else (sys.executable, *python[1:])))
    for own in wheels.glob("edgecam-*.whl"):
        own.unlink()
    inside = ("chroot", making / "root")
    _run(*inside, "python3", "-m", "venv", PREFIX)
    pip = (f"{PREFIX}/bin/pip", "install", "-q", "--no-index", "--no-deps")
    _run(*inside, "sh", "-c", " ".join((*pip, "/root/wheels/*.whl")))
    shutil.rmtree(wheels)
    (making / "root").rename(path)
    shutil.rmtree(making)
    return path


def install(root: Path, made: Path) -> None:
    """Install the wheel ``made`` into the root, as an upgrade does too."""
    # Debian's installer writes it, mmdebstrap does not.
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n", "utf-8")
    shutil.copy(made, root / "root" / made.name)
    pip = (f"{PREFIX}/bin/pip", "install", "-q", "--no-index", "--no-deps", "--force-reinstall")
    _run("chroot", root, *pip, f"/root/{made.name}")
