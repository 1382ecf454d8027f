"""Several cameras in one file: what each ``[[camera]]`` says, laid over what stands at the top."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecam.core.errors import SettingsError
from edgecam.settings.house import SECRET, House, variable_part
from edgecam.settings.messages import nearest
from edgecam.settings.scene import PLACES
from edgecam.settings.schema import Settings

# What a [[camera]] may say; the same at the top is the default of all of them.
PER_CAMERA = (
    *("name", "title", "source", "rate_hz", "priority", "boost_when", "models", "refine"),
    *("accuracy", "turned_look_s", "max_frames", "decode", "zone", "mask", "line", "motion"),
    *("crop", "tracking", "events", "snapshot", "recorder", "output", "homeassistant", "remote"),
)

Data = dict[str, Any]


def take_secrets(
    tables: Sequence[Data], environment: Mapping[str, str], configs: Sequence[Path]
) -> None:
    """Put the URLs that the environment has for cameras in the place of those of the file.

    Raises:
        SettingsError: there is no such camera.
    """
    by_key = {variable_part(str(table.get("name", ""))): table for table in tables}
    for variable, url in sorted(environment.items()):
        found = SECRET.fullmatch(variable)
        if found is None:
            continue
        if found[1] not in by_key:
            where = ", ".join(map(str, configs)) or "the settings"
            raise SettingsError(
                f"{variable}: expected the name of a camera of {where}, found none of that name"
            )
        table = by_key[found[1]]
        table["source"] = {**table.get("source", {}), "url": url}


def named(top: Data, tables: Sequence[Data], origin: str) -> Iterator[tuple[str, Data]]:
    """Each camera's name with all of its settings: its own, else those at the top.

    Raises:
        SettingsError: a camera has no name, or a key that is not a camera's own.
    """
    places = {kind: _list(top.get(kind)) for kind in PLACES}
    names = [str(table.get("name", "")) for table in tables]
    for kind, listed in places.items():
        _check_owners(kind, listed, names, origin)
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            found = repr(table["name"]) if isinstance(table, dict) and "name" in table else "none"
            raise SettingsError(f"{origin}: camera {number}: expected a name, found {found:.80}")
        name = table["name"]
        for key in table:
            if key not in PER_CAMERA:
                raise _no_key_of_a_camera(key, name, origin)
        data = {key: value for key, value in top.items() if key not in (*PLACES, "title")}
        for key, value in table.items():
            is_section = isinstance(value, dict) and isinstance(data.get(key), dict)
            data[key] = {**data[key], **value} if is_section else value
        for kind, listed in places.items():
            own = [_without_owner(place) for place in listed if _owner(place) == name]
            others = [place for place in listed if _owner(place) is None]
            data[kind] = [*own, *(_list(table[kind]) if kind in table else others)]
        yield name, data


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _owner(place: Any) -> str | None:
    return place.get("camera") if isinstance(place, dict) else None


def _without_owner(place: Data) -> Data:
    return {key: value for key, value in place.items() if key != "camera"}


def _check_owners(kind: str, listed: Sequence[Any], names: Sequence[str], origin: str) -> None:
    for place in listed:
        owner = _owner(place)
        if owner is not None and owner not in names:
            raise SettingsError(
                f"{origin}: {kind} {place.get('name', '')!s:.64}: camera: expected one of "
                f"{', '.join(names)}, found {owner!r:.80}"
            )


def _no_key_of_a_camera(key: str, name: str, origin: str) -> SettingsError:
    if key in Settings.__struct_fields__:
        words = f"{key} is shared by all cameras of a process; write it above the first [[camera]]"
    else:
        words = f"unknown key {key!r:.80}{nearest(key, PER_CAMERA)}"
    return SettingsError(f"{origin}: camera {name:.64}: {words}")


def check(house: House, origin: str) -> None:
    """
    Raises:
        SettingsError: two cameras have one name, one device or one file, or one asks for what a
            process has but once.
    """
    cameras = house.cameras
    _differ(origin, "name", {n: c.name for n, c in enumerate(cameras)}, cameras)
    if not house.has_several:
        return
    if any(camera.name == house.shared.name for camera in cameras):
        raise SettingsError(
            f"{origin}: name: expected one that no camera has, for the process, found "
            f"{house.shared.name!r}; its availability is on edgecam/NAME/availability"
        )
    devices = {n: _device(c.source.url) for n, c in enumerate(cameras)}
    _differ(origin, "device", devices, cameras)
    for key in ("jsonl", "events_jsonl"):
        files = {n: getattr(c.output, key) for n, c in enumerate(cameras)}
        files = {n: path for n, path in files.items() if path not in (None, "-")}
        _differ(origin, f"output.{key}", files, cameras)
    if any(camera.output.show for camera in cameras):
        raise SettingsError(
            f"{origin}: output.show: expected one camera, found {len(cameras)}; the live page "
            "([web] listen) shows several"
        )


def _differ(
    origin: str, what: str, values: Mapping[int, str | None], cameras: Sequence[Settings]
) -> None:
    seen: dict[str, int] = {}
    for number, value in values.items():
        if value is None:
            continue
        if value in seen:
            if what == "name":
                raise SettingsError(f"{origin}: two cameras are called {value!r}; rename one")
            first, second = cameras[seen[value]].name, cameras[number].name
            raise SettingsError(
                f"{origin}: cameras {first} and {second} have one {what}, {value}; "
                "give each its own"
            )
        seen[value] = number


def _device(url: str) -> str | None:
    """What a source opens and no other can open too; None of files and what the network serves."""
    if url in ("-", "/dev/stdin"):
        return "standard input"
    if url.isdecimal():
        url = f"/dev/video{int(url)}"
    if url.startswith("/dev/"):
        return os.path.realpath(url)
    if url.startswith("udp://"):
        # Who sends names this host, by any of its names: the port is what is taken.
        return f"UDP port {url.rpartition(':')[2].partition('?')[0]}"
    if os.path.exists(url) and stat.S_ISFIFO(os.stat(url).st_mode):
        return os.path.realpath(url)
    scheme, _, index = url.partition(":")
    return f"picamera:{index or 0}" if scheme == "picamera" else None


def joined(files: Sequence[tuple[str, Data]]) -> Data:
    """One set of settings from several files, each with one camera or several.

    Raises:
        SettingsError: two of them say different things of what is shared.
    """
    if len(files) == 1:
        return files[0][1]
    shared: Data = {}
    said: dict[str, str] = {}
    tables: list[Data] = []
    for origin, data in files:
        rest = {key: value for key, value in data.items() if key not in (*PER_CAMERA, "camera")}
        tables += _tables(data, rest.pop("model", []), origin)
        if "camera" in data and "name" in data:
            rest["name"] = data["name"]
        for key, value in _flat(rest):
            if key in said and _at(shared, key) != value:
                raise SettingsError(
                    f"{said[key]} and {origin} set {key} differently; it is shared by all cameras "
                    "of a process"
                )
            said[key] = origin
            _put(shared, key, value)
        shared.setdefault("model", [])
        shared["model"] += [m for m in data.get("model", []) if m not in shared["model"]]
    return {**shared, "camera": tables}


def _tables(data: Data, models: Sequence[Data], origin: str) -> list[Data]:
    """The cameras of one file, with the defaults of that file."""
    top = {key: value for key, value in data.items() if key in PER_CAMERA}
    if models and "models" not in top:
        top["models"] = [model["path"] for model in models]
    if "camera" not in data:
        return [{"name": "camera", **top}]
    top.pop("name", None)
    cameras = named(top, data["camera"], origin)
    return [{k: v for k, v in each.items() if v != []} for _, each in cameras]


def _flat(data: Data) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict) and key != "plugin":
            yield from ((f"{key}.{leaf}", each) for leaf, each in value.items())
        else:
            yield key, value


def _at(data: Data, key: str) -> Any:
    section, _, leaf = key.rpartition(".")
    return data[section][leaf] if section else data[leaf]


def _put(data: Data, key: str, value: Any) -> None:
    section, _, leaf = key.rpartition(".")
    (data.setdefault(section, {}) if section else data)[leaf] = value
