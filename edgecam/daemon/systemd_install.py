"""The files of a systemd service: one unit, one configuration and its secrets for each camera."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.core.errors import SettingsError
from edgecam.core.redaction import address
from edgecam.daemon.systemd_unit import InstallationError, check_readable, shipped, unit
from edgecam.inference import catalog as bundled
from edgecam.mqtt.address import parse_url
from edgecam.settings.credentials import read_password
from edgecam.settings.load import load, model_of, parse
from edgecam.settings.schema import Settings
from edgecam.sources import kinds as sources

SUFFIXES = ("toml", "env", "password", "web-token", "webhooks")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the service: where below the root, what is in it, and who may read it."""

    path: Path
    text: str
    mode: int = 0o644


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
    secrets = environment_line("EDGECAM_SOURCE_URL", url) if is_camera else ""
    return files_of(layout, [settings], text, secrets, password_file)


def files_of(
    layout: Layout,
    cameras: Sequence[Settings],
    text: str,
    secrets: str,
    password_file: str | None,
) -> list[File]:
    """The files of a service of these cameras, whose configuration is ``text``.

    ``secrets`` are the lines of its environment that root alone reads.

    Raises:
        EdgecamError: the unit cannot be written, or the password cannot be read.
    """
    files = [File(layout.unit, unit(*cameras)), File(layout.configuration("toml"), text)]
    if secrets:
        files.append(File(layout.configuration("env"), secrets, 0o600))
    if all(sources.check(camera.source.url).holds_login for camera in cameras):
        # No device for cameras that are all on the network.
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
