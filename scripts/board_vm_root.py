"""A disk, a kernel and an initrd for QEMU from the root that board_root makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import board_root
from board_machine import PATH
from board_root import CannotRunError

SCRIPTS = Path(__file__).parent
KERNEL = "linux-image-amd64"
# What the initrd needs to reach the disk, and what the checks load.
EARLY = ("virtio_pci", "virtio_blk", "ext4")
LATER = ("vivid", "uvcvideo", "vhci-hcd", "virtio_console", "virtio_rng")
DISK = "3500M"

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
{modules}
i=0
while ! [ -b /dev/vda ] && [ $i -lt 200 ]; do /bin/busybox usleep 100000; i=$((i+1)); done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""
UNIT = """[Unit]
DefaultDependencies=no
After=systemd-udevd.service
[Service]
Environment={path}
ExecStartPre=/sbin/modprobe virtio_console
ExecStartPre=/bin/sh -c 'until [ -e /dev/virtio-ports/edgecam ]; do sleep 0.2; done'
ExecStart=/usr/bin/python3 /opt/board_agent.py
Restart=always
[Install]
WantedBy=basic.target
"""
# What costs emulated minutes and proves nothing.
MASKED = (
    *("e2scrub_all.timer", "e2scrub_reap.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("dpkg-db-backup.timer", "fstrim.timer", "proc-sys-fs-binfmt_misc.automount"),
    *("systemd-binfmt.service", "getty.target", "systemd-timesyncd.service"),
)


def _run(*command: object, **more: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        last = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise CannotRunError(f"{Path(words[0]).name}: {last}")
    return str(done.stdout)


def _kernel(folder: Path) -> Path:
    """Debian's kernel and its modules, taken apart below ``folder``."""
    depends = _run("apt-cache", "depends", "--important", KERNEL).splitlines()
    name = next(line.split()[-1] for line in depends if "Depends:" in line)
    download = ("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name)
    _run(*download, cwd=folder)
    package = next(folder.glob("linux-image-*.deb"))
    _run("dpkg-deb", "-x", package, folder / "kernel")
    package.unlink()
    return folder / "kernel"


def _modules_of(tree: Path, version: str, names: tuple[str, ...]) -> list[Path]:
    """Files of the modules and of what they need, in the order in which they load."""
    found: dict[Path, None] = {}
    for name in names:
        shown = _run("modprobe", "-d", tree, "-S", version, "--show-depends", name)
        for line in shown.splitlines():
            if line.startswith("insmod"):
                found[Path(line.split()[1])] = None
    return list(found)


def _initrd(folder: Path, modules: list[Path]) -> None:
    tree = folder / "initrd"
    for name in ("bin", "proc", "sys", "dev", "root", "m"):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "bin/busybox")
    for module in modules:
        shutil.copy(module, tree / "m" / module.name)
    lines = "\n".join(f"/bin/busybox insmod /m/{module.name}" for module in modules)
    (tree / "init").write_text(INIT.format(modules=lines), "utf-8")
    (tree / "init").chmod(0o755)
    packed = f"cd {tree} && find . | cpio -o -H newc --quiet | gzip -1 > {folder}/initrd.gz"
    _run("sh", "-c", packed)
    shutil.rmtree(tree)


def kernel() -> Path:
    """Folder with ``vmlinuz``, ``initrd.gz`` and ``modules``, made once."""
    path = board_root.cache() / "kernel"
    if path.is_dir():
        return path
    making = board_root.cache() / f"making-kernel-{os.getpid()}"
    making.mkdir(parents=True)
    tree = _kernel(making)
    version = next((tree / "lib/modules").iterdir()).name
    _run("depmod", "-b", tree, version)
    _initrd(making, _modules_of(tree, version, EARLY))
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), making / "vmlinuz")
    kept = making / "modules/lib/modules" / version
    source = tree / "lib/modules" / version
    for module in _modules_of(tree, version, (*EARLY, *LATER)):
        target = kept / module.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(source / name, kept / name)
    _run("depmod", "-b", making / "modules", version)
    shutil.rmtree(tree)
    making.rename(path)
    return path


def disk(folder: Path) -> Path:
    """A disk with Debian, this commit's wheel, the kernel's modules and the agent."""
    root = folder / "root"
    _run(
        "cp", "--archive", "--reflink=auto", board_root.base("libnss-systemd", "udev", "kmod"), root
    )
    board_root.install(root, board_root.wheel(folder))
    shutil.copytree(kernel() / "modules/lib/modules", root / "lib/modules", dirs_exist_ok=True)
    for name in ("board_agent.py", "board_usb_camera.py", "board_camera.py", "board_writer.py"):
        shutil.copy(SCRIPTS / name, root / "opt" / name)
    units = root / "etc/systemd/system"
    (units / "board-agent.service").write_text(UNIT.format(path=PATH), "utf-8")
    (units / "basic.target.wants").mkdir(exist_ok=True)
    (units / "basic.target.wants/board-agent.service").symlink_to("../board-agent.service")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw,errors=remount-ro 0 1\n", "utf-8")
    raw = folder / "disk.raw"
    _run("mke2fs", "-q", "-t", "ext4", "-d", root, raw, DISK)
    shutil.rmtree(root)
    return raw
