"""A service of a settings file that there is already, with one camera or several."""

from __future__ import annotations

from pathlib import Path

from edgecam.core import bounded_file
from edgecam.core.errors import SettingsError
from edgecam.core.redaction import address
from edgecam.daemon.systemd_install import File, Layout, environment_line, files_of
from edgecam.daemon.systemd_unit import InstallationError, check_readable
from edgecam.settings.house import House, secret_of
from edgecam.settings.load import load_house
from edgecam.sources import kinds as sources


def planned_house(layout: Layout, config: Path, password_file: str | None) -> list[File]:
    """The files of a service with a copy of the settings in ``config``.

    The address of a camera that may hold a login goes into a file that root alone reads.

    Raises:
        EdgecamError: a setting is refused, or means another file once the copy lies elsewhere.
    """
    check_readable()
    house = load_house([config], {}, {})
    text = bounded_file.read(config, bounded_file.TEXT_BYTES).decode()
    if house.has_several and house.shared.name != layout.name and config.stem != house.shared.name:
        raise SettingsError(
            f"{config}: name: expected {layout.name!r} as the service, found "
            f"{house.shared.name!r}; drop it, or give the service that name"
        )
    _check_paths(house, config)
    secrets = ""
    for camera in house.cameras:
        url = camera.source.url
        if not sources.check(url).holds_login or address(url) == url:
            continue
        if url not in text:
            raise InstallationError(
                f"{config}: expected the address of camera {camera.name} in one piece, found it "
                "written with escapes; write it plainly, so that its login can be kept apart"
            )
        text = text.replace(url, address(url))
        variable = secret_of(camera.name) if house.has_several else "EDGECAM_SOURCE_URL"
        secrets += environment_line(variable, url)
    return files_of(layout, house.cameras, text, secrets, password_file)


def _check_paths(house: House, config: Path) -> None:
    """
    Raises:
        InstallationError: a model's file is named as seen from here.
    """
    for camera in house.cameras:
        named = [*(model.path for model in camera.model), camera.refine]
        for path in filter(None, named):
            if "/" in path and not path.startswith(("/", "~")):
                raise InstallationError(
                    f"{config}: expected the whole path of the model {path}, for a service starts "
                    f"elsewhere; write {Path(path).absolute()}"
                )
