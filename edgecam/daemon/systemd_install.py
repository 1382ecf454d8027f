"""The files of a systemd service: one unit, one configuration and its secrets for each camera."""

from __future__ import annotations

import grp
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.places import HIDDEN
from edgecam.core.redaction import address
from edgecam.inference import catalog as bundled
from edgecam.mqtt.address import parse_url
from edgecam.settings.credentials import read_password
from edgecam.settings.load import load, model_of, parse
from edgecam.settings.schema import Settings
from edgecam.sources import kinds as sources
from edgecam.sources.local_path import path_of

PACKAGE = Path(__file__).parent.parent
SUFFIXES = ("toml", "env", "password", "web-token", "webhooks")
SHIPPED_START = "/usr/bin/env edgecam --config /etc/edgecam/%i.toml"
# From this version on systemd waits longer after each start that fails, 5 minutes at most.
GROWING_DELAYS = 254
GROWING = "RestartSteps=6\nRestartMaxDelaySec=300"


@dataclass(frozen=True, slots=True)
class File:
    """A file of the service: where below the root, what is in it, and who may read it."""

    path: Path
    text: str
    mode: int = 0o644


class InstallationError(EdgecamError):
    """A service cannot be installed or removed as asked."""

    page = "service"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of the instance ``name`` lie below ``root``."""

    root: Path
    name: str

    @property
    def unit(self) -> Path:
        """Path of the unit's file."""
        return self.root / f"etc/systemd/system/edgecam@{self.name}.service"

    @property
    def drop_ins(self) -> Path:
        """Folder of the unit's drop-ins."""
        return self.unit.with_name(f"{self.unit.name}.d")

    def configuration(self, suffix: str) -> Path:
        """Return the path of this camera's configuration file with a suffix."""
        return self.root / f"etc/edgecam/{self.name}.{suffix}"

    def present(self) -> list[Path]:
        """Every file of root's for the instance that exists, links not followed."""
        files = [self.unit, *map(self.configuration, SUFFIXES), *sorted(self.drop_ins.glob("*"))]
        files += [path / self.unit.name for path in self.unit.parent.glob("*.wants")]
        return [path for path in files if path.is_symlink() or path.is_file()]

    def of_the_service(self) -> list[Path]:
        """What systemd has made for the service that exists: directories, and links to them.

        The service writes below such a directory, and may have put links there.
        """
        made = [self.root / f"var/{base}/edgecam/{self.name}" for base in ("cache", "lib")]
        made += [self.root / f"var/{base}/private/edgecam/{self.name}" for base in ("cache", "lib")]
        return [path for path in made if path.is_symlink() or path.is_dir()]

    def directories(self) -> list[Path]:
        """Root's directories that are edgecam's own; one may hold other instances."""
        found = [self.drop_ins, self.root / "etc/edgecam"]
        for base in ("var/cache", "var/lib"):
            found += [self.root / base / "private/edgecam", self.root / base / "edgecam"]
        return found


def shipped(name: str) -> str:
    """A file of ``systemd/`` as it is shipped.

    Raises:
        InstallationError: the installation lacks it.
    """
    places = (PACKAGE / "data" / "systemd", PACKAGE.parent / "systemd")
    found = next((place / name for place in places if (place / name).is_file()), None)
    if found is None:
        raise InstallationError(f"systemd/{name} is missing; install edgecam again")
    return found.read_text("utf-8")


def _path(path: Path) -> str:
    """One of a unit's paths, as BindReadOnlyPaths= takes it apart twice (systemd.exec(5)).

    Raises:
        InstallationError: it cannot be written in a unit.
    """
    text = _in_unit(str(path))
    # Quoted, a second pair of quotes or a colon within would count.
    return re.sub(r"""[\s"'\\:]""", r"\\\g<0>", text)


def _in_unit(text: str) -> str:
    """``text`` for a line of a unit, its words not yet quoted."""
    if not text.isprintable():
        raise InstallationError(
            f"expected a path that a unit can name, found a line break or another character that "
            f"cannot be printed in {text!r}; rename it, or move it"
        )
    return text.replace("%", "%%")


def _program() -> str:
    """What ExecStart= begins with: edgecam as it is installed here.

    Raises:
        InstallationError: systemd starts nothing by that path.
    """
    script = Path(sys.executable).with_name("edgecam")
    words = [str(script)] if script.is_file() else [sys.executable, "-m", "edgecam"]
    found = re.search(r"""["'\\$]""", words[0])
    if found is not None:
        raise InstallationError(
            f"expected a path that systemd can start, found {found[0]} in {words[0]}; move the "
            "virtual environment"
        )
    return " ".join(
        [f'"{_in_unit(words[0])}"' if " " in words[0] else _in_unit(words[0]), *words[1:]]
    )


def _systemd_version() -> int | None:
    """The version of the systemd here, None where it does not say."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else None


def check_readable() -> None:
    """Refuse an installation that the service's user, who shares no group with it, cannot run.

    Raises:
        InstallationError: a folder or file of it is closed to other users.
    """
    prefix, script = Path(sys.prefix), Path(sys.executable).with_name("edgecam")
    for path in (prefix, prefix / "bin", script, Path(sys.executable), PACKAGE, Path(__file__)):
        if not path.exists():
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or path == script else 0)
        if path.stat().st_mode & wanted != wanted:
            raise InstallationError(
                f"expected an installation that every user may run, found {path} of mode "
                f"{stat.S_IMODE(path.stat().st_mode):o}; the service runs as a user of its own: "
                f"chmod -R a+rX {prefix}"
            )


def _needed(settings: Settings) -> Iterable[Path]:
    yield from (Path(sys.prefix), Path(sys.base_prefix), PACKAGE.parent)
    for model in settings.model:
        yield bundled.resolve(model.path).absolute()
        if model.labels:
            yield Path(model.labels).absolute()
    if settings.refine is not None:
        yield bundled.resolve(settings.refine).absolute()
    if not sources.kind_of(settings.source.url).live:
        path = Path(path_of(settings.source.url)).absolute()
        if path.exists():
            yield path


def unit(*cameras: Settings) -> str:
    """Return the unit of a service of these cameras."""
    text = shipped("edgecam@.service")
    text = text.replace(SHIPPED_START, f"{_program()} --config /etc/edgecam/%i.toml")
    if (_systemd_version() or 0) >= GROWING_DELAYS:
        text = text.replace("RestartSec=10\n", f"RestartSec=10\n{GROWING}\n")
    wanted = {"video", "render", "plugdev"}
    groups = sorted(wanted & {group.gr_name for group in grp.getgrall()})
    # A group that this system does not have would keep the service from starting.
    text = text.replace("Groups=video render plugdev", f"Groups={' '.join(groups)}")
    needed = [path for each in cameras for path in _needed(each)]
    hidden = [p for p in needed if any(p.is_relative_to(place) for place in HIDDEN)]
    if hidden:
        paths = " ".join(map(_path, dict.fromkeys(hidden)))
        text = text.replace("ProtectHome=yes", f"ProtectHome=tmpfs\nBindReadOnlyPaths={paths}")
    return text


def _value(value: Any) -> str:
    # A JSON string, number or truth value is TOML as well, but for DEL.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InstallationError(
            f"expected a name in UTF-8, which a TOML file is, found {text!r}; rename it"
        ) from None
    return text


def _toml(name: str, models: list[str], flags: Mapping[str, Any], *, is_secret: bool) -> str:
    """``is_secret``: the source's URL is in the environment file, and wins."""
    lines = [f"# Camera {name}; systemctl reload edgecam@{name} takes changes.", ""]
    if is_secret:
        lines[1:1] = [
            f"# The whole URL of the source is in {name}.env; systemctl restart takes it."
        ]
    lines.append(f"name = {_value(name)}")
    for text in models:
        path, own = model_of(text)
        lines += ["", "[[model]]", f"path = {_value(path)}"]
        for leaf, value in own.items():
            lines.append(f"{leaf} = {_value(parse(f'model.{leaf}', value, '--model'))}")
    sections: dict[str, list[str]] = {}
    for key, value in flags.items():
        section, _, leaf = key.rpartition(".")
        sections.setdefault(section, []).append(f"{leaf} = {_value(value)}")
    for section, values in sections.items():
        lines += ["", f"[{section}]", *values]
    return "\n".join(lines) + "\n"


def environment_line(variable: str, value: str) -> str:
    """systemd.exec(5), EnvironmentFile=: in double quotes these four are escaped."""
    for character in '\\"$`':
        value = value.replace(character, f"\\{character}")
    return f'{variable}="{value}"\n'


def _located(model: str) -> str:
    """A bundled model stays a name; a file is named by its whole path."""
    path = model_of(model)[0]
    own = model.removeprefix(path)
    found = bundled.resolve(path)
    if not found.is_file():
        raise InstallationError(f"--model {path}: expected a file or a bundled model, found none")
    return (path if found.parent == bundled.directory() else str(found.absolute())) + own


def planned(
    layout: Layout, models: list[str], flags: Mapping[str, Any], password_file: str | None
) -> list[File]:
    """The files of a service whose settings are ``flags``, by dotted key.

    Raises:
        EdgecamError: a setting is refused, or a model is missing.
    """
    check_readable()
    models = [_located(model) for model in models]
    url = str(flags["source.url"])
    is_camera = sources.check(url).holds_login
    shown = {"source.url": address(url) if is_camera else url, "source.wait": True}
    shown |= {key: value for key, value in flags.items() if key != "source.url"}
    text = _toml(layout.name, models, shown, is_secret=is_camera)
    settings = checked(text)
    if settings.mqtt.url is not None:
        parse_url(settings.mqtt.url)
    files = [File(layout.unit, unit(settings)), File(layout.configuration("toml"), text)]
    if is_camera:
        secret = environment_line("EDGECAM_SOURCE_URL", url)
        files.append(File(layout.configuration("env"), secret, 0o600))
        name = "network-camera.conf"
        files.append(File(layout.drop_ins / name, shipped(name)))
    if password_file is not None:
        password = read_password(password_file)
        assert password is not None
        files.append(File(layout.configuration("password"), f"{password.secret}\n", 0o600))
    return files


def checked(text: str) -> Settings:
    """The settings of a configuration that is not written yet; raises SettingsError."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            return load(Path(file.name), {}, {})
        except SettingsError as error:
            raise SettingsError(str(error).replace(f"{file.name}: ", "")) from None


def write(files: list[File]) -> None:
    """Write all of them, or none.

    Raises:
        InstallationError: one exists already, or cannot be written.
    """
    written: list[Path] = []
    made: list[Path] = []
    try:
        for file in files:
            made += _make_directory(file.path.parent)
            _write_new(file)
            written.append(file.path)
    except OSError as error:
        for path in written:
            path.unlink()
        for directory in reversed(made):
            directory.rmdir()
        if isinstance(error, FileExistsError):
            raise InstallationError(
                f"{error.filename} exists already; run edgecam service uninstall first"
            ) from None
        raise InstallationError(
            f"cannot write {error.filename}: {error.strerror}; run it as root (sudo)"
        ) from None


def _make_directory(path: Path) -> list[Path]:
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        # Whatever umask the person has: the service's user reads the configuration.
        made.chmod(0o755)
    return missing[::-1]


def _write_new(file: File) -> None:
    """Beside its name first, so that no other process ever reads half of it."""
    temporary = file.path.with_name(f".{file.path.name}.new")
    # One that is left over may be open in a process that must not read what is written now.
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.write(file.text)
            os.fchmod(stream.fileno(), file.mode)
        # Unlike a rename it does not overwrite.
        os.link(temporary, file.path)
    except FileExistsError:
        raise FileExistsError(17, "exists", str(file.path)) from None
    finally:
        temporary.unlink()


def remove(layout: Layout) -> list[Path]:
    """Remove everything of the instance, and the directories that are empty then.

    Raises:
        InstallationError: there is none, or one cannot be removed.
    """
    files, directories = layout.present(), layout.of_the_service()
    found = [*files, *directories]
    if not found:
        raise InstallationError(f"no service {layout.name!r} is installed below {layout.root}")
    refused = [path for path in found if not os.access(path.parent, os.W_OK)]
    if refused:
        raise InstallationError(f"cannot remove {refused[0]}; run it as root (sudo)")
    try:
        for path in found:
            if path.is_symlink() or path.is_file():
                path.unlink()
            else:
                _remove_tree(path)
        for directory in layout.directories():
            if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
                directory.rmdir()
    except OSError as error:
        raise InstallationError(
            f"cannot remove {error.filename}: {error.strerror}; stop the service, then run it again"
        ) from None
    return found


def _remove_tree(path: Path) -> None:
    """Remove a directory with all in it by descriptors: no link in it or above it is followed.

    Raises:
        OSError: it is a link by now, or something in it cannot be removed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    parent = os.open(path.parent, flags)
    try:
        shutil.rmtree(path.name, dir_fd=parent)
    finally:
        os.close(parent)
