"""Secrets beside a settings file: what the unit of ``NAME.toml`` reads for it, for other commands.

systemd reads ``NAME.env``, ``NAME.password``, ``NAME.web-token`` and ``NAME.webhooks`` as root and
hands them to the service. ``edgecam doctor --config NAME.toml`` by root has to see what the service
sees.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edgecam.core import bounded_file

_LINE = re.compile(r'^(EDGECAM_[A-Z0-9_]+)="((?:[^"\\]|\\.)*)"$', re.MULTILINE)


SUFFIXES = (".env", ".password", ".web-token", ".webhooks")


def unreadable(config: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """The files beside the settings that are there and that this user may not read."""
    if config is None or config.suffix != ".toml" or "CREDENTIALS_DIRECTORY" in environment:
        return []
    paths = map(config.with_suffix, SUFFIXES)
    return [path for path in paths if path.is_file() and not os.access(path, os.R_OK)]


def beside(config: Path | None, suffix: str, environment: Mapping[str, str]) -> Path | None:
    """The file of this suffix beside the settings file, where this user may read it.

    None within a service, to which systemd hands what is in it.
    """
    if config is None or config.suffix != ".toml" or "CREDENTIALS_DIRECTORY" in environment:
        return None
    path = config.with_suffix(suffix)
    return path if path.is_file() and os.access(path, os.R_OK) else None


def environment_of(config: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with what ``NAME.env`` sets, which loses to what is set already."""
    path = beside(config, ".env", environment)
    found: dict[str, str] = {}
    if path is not None:
        text = bounded_file.read(path, bounded_file.TEXT_BYTES).decode("utf-8", "replace")
        found = {name: re.sub(r"\\(.)", r"\1", value) for name, value in _LINE.findall(text)}
    return found | dict(environment)


def secret_files(config: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Setting -> the file beside ``config`` that stands for it where the settings name none."""
    named = {"mqtt.password_file": ".password", "web.token_file": ".web-token"}
    found = {key: beside(config, suffix, environment) for key, suffix in named.items()}
    return {key: str(path) for key, path in found.items() if path is not None}
