"""Puts settings together: defaults, then the TOML file, then ``EDGECAM_...``, then flags.

Each layer is checked on its own, so that an error names the place a person has to fix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from edgecam.core import bounded_file, bounded_toml
from edgecam.core.errors import SettingsError
from edgecam.settings import companions, forms
from edgecam.settings.house import PROCESS, House, is_secret, of_one, with_chosen_models
from edgecam.settings.messages import check_texts, nearest, refusal, single
from edgecam.settings.scene import PLACES, LineSettings, MaskSettings, ZoneSettings
from edgecam.settings.schema import ModelSettings, Settings
from edgecam.settings.section import SLUG, Section, description_of, fields_of
from edgecam.settings.webhook import WebhookSettings

# What may stand several times, as [[model]].
LISTS: Mapping[str, type[Section]] = {
    "model": ModelSettings,
    "zone": ZoneSettings,
    "mask": MaskSettings,
    "line": LineSettings,
    "webhook": WebhookSettings,
}
# Functions import what the settings of one camera have no use for.
ENVIRONMENT_PREFIX = "EDGECAM_"
# What belongs to the environment of edgecam but is no setting.
RESERVED_VARIABLES = frozenset({"EDGECAM_CONFIG", "EDGECAM_CACHE_DIR"})


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting: its dotted ``key``, annotated type, default and one-line description."""

    key: str
    type: Any
    default: Any
    description: str

    @property
    def in_file_alone(self) -> bool:
        """One variable or flag cannot say which of several it means."""
        return self.key.partition(".")[0] in {*LISTS, "plugin"} - {"model"}

    @property
    def variable(self) -> str:
        """Name of its environment variable."""
        return ENVIRONMENT_PREFIX + self.key.upper().replace(".", "_")


def describe() -> tuple[SettingInfo, ...]:
    """Every setting of every section, in file order; those of a model as ``model.KEY``.

    Those of a zone, mask, line or webhook are in the file alone.
    """
    found = []
    for name, annotated, default in fields_of(Settings):
        if name in LISTS:
            sub = LISTS[name]
        elif isinstance(default, Section):
            sub = type(default)
        else:
            found.append(SettingInfo(name, annotated, default, description_of(annotated)))
            continue
        found += [
            SettingInfo(f"{name}.{key}", kind, value, description_of(kind))
            for key, kind, value in fields_of(sub)
        ]
    return tuple(found)


def _checked(data: Mapping[str, Any], origin: str) -> Settings:
    check_texts(data, origin)
    try:
        return msgspec.convert(data, Settings)
    except msgspec.ValidationError as error:
        types = {info.key: info.type for info in describe()}
        raise refusal(error, data, origin, types) from None


def own_settings(name: str, settings: Settings, struct: type[Any] | None) -> Any:
    """Return the table ``[plugin.NAME]`` as the plugin's own ``struct``, None without one.

    Raises:
        SettingsError: it has no settings, or one is of the wrong type or out of range.
    """
    table, origin = settings.plugin.get(name, {}), f"settings: plugin.{name}"
    if struct is None:
        if table:
            raise SettingsError(
                f"{origin}: expected no table, found one; the plugin has no settings"
            )
        return None
    unknown = next((key for key in table if key not in struct.__struct_fields__), None)
    if unknown is not None:
        known = list(struct.__struct_fields__)
        raise SettingsError(f"{origin}: unknown key {unknown!r:.80}{nearest(unknown, known)}")
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        raise refusal(error, table, origin, {}) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The settings file as nested dictionaries, checked on its own.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or holds an unknown or bad value.
    """
    check_texts(str(path), "--config")
    try:
        data = bounded_file.read(path, bounded_file.TEXT_BYTES)
    except OSError as error:
        raise SettingsError(
            f"{path}: expected a readable TOML file, found: {error.strerror}; "
            "check the path given to --config"
        ) from None
    return parse_toml(data, str(path))


def parse_toml(text: bytes, origin: str) -> dict[str, Any]:
    """Settings in TOML, checked as those of the file ``origin`` are; raises SettingsError."""
    try:
        data = bounded_toml.loads(text.decode())
    except ValueError as error:  # not TOML, not UTF-8, or an endless number
        raise SettingsError(f"{origin}: expected TOML, found: {error}") from None
    try:
        _plain_forms(data)
        _house(data, origin)
    except RecursionError:
        raise SettingsError(f"{origin}: expected settings, found tables in tables") from None
    return data


def _plain_forms(data: dict[str, Any]) -> None:
    forms.of_file(data)
    for name in (*LISTS, "camera"):
        if isinstance(data.get(name), dict):
            # One alone is naturally written [zone], without the list's second pair of brackets.
            data[name] = [data[name]]
    listed = data.get("camera")
    for camera in listed if isinstance(listed, list) else ():
        if isinstance(camera, dict):
            _plain_forms(camera)


def _house(data: Mapping[str, Any], origin: str, process: str | None = None) -> House:
    """The cameras of nested dictionaries; ``process`` is its name where they give none."""
    tables = data.get("camera")
    if tables is None:
        return of_one(_checked_camera(data, origin))
    from edgecam.settings import cameras

    if not isinstance(tables, list) or not tables:
        raise SettingsError(f"{origin}: camera: expected tables [[camera]], found {tables!r:.80}")
    top = {key: value for key, value in data.items() if key != "camera"}
    shared = {key: value for key, value in top.items() if key not in PLACES}
    if process is not None:
        shared.setdefault("name", process)
    # First: what is wrong at the top is no camera's fault.
    of_all = _checked(shared, origin) if len(tables) > 1 else None
    found = tuple(
        _checked_camera(each, f"{origin}: camera {name:.64}")
        for name, each in cameras.named(top, tables, origin)
    )
    if of_all is None:
        return of_one(found[0])
    house = House(of_all, found)
    cameras.check(house, origin)
    return house


def _checked_camera(data: Mapping[str, Any], origin: str) -> Settings:
    return with_chosen_models(_checked(data, origin), origin)


def model_of(text: str) -> tuple[str, dict[str, str]]:
    """``PATH[:key=value...]`` taken apart: settings of this model alone."""
    match = re.fullmatch(r"(.*?)((?::[a-z_]+=[^:=]*)*)", text, re.DOTALL)
    path, rest = (match[1], match[2]) if match else (text, "")
    return path, dict(part.split("=", 1) for part in rest.split(":")[1:])


def _is_list(annotated: Any) -> bool:
    if get_origin(annotated) is Annotated:
        return _is_list(get_args(annotated)[0])
    return get_origin(annotated) is tuple


def _single(key: str, value: Any, infos: Mapping[str, SettingInfo], origin: str) -> Any:
    """One value given as text (environment, flag), turned into its type."""
    if isinstance(value, str):
        value = _plain_form(key, value, infos[key])
    try:
        return msgspec.to_builtins(msgspec.convert(value, infos[key].type, strict=False))
    except msgspec.ValidationError as error:
        why = single(error, value, infos[key].type)
        raise SettingsError(f"{origin}: {key}: {why}") from None


def _plain_form(key: str, text: str, info: SettingInfo) -> Any:
    if _is_list(info.type):
        return [part.strip() for part in text.split(",") if part.strip()]
    if key == "web.listen":
        return forms.listen(text)
    if text == forms.AUTO and info.default is None and "str" not in str(info.type):
        return None
    return text if "str" in str(info.type) else forms.number(text)


def parse(key: str, text: str, origin: str) -> Any:
    """One setting's value given as text, checked as in a configuration.

    Raises:
        SettingsError: it is of the wrong type or out of range.
    """
    return _single(key, text, {info.key: info for info in describe()}, origin)


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    section, _, leaf = key.rpartition(".")
    if section == "model":
        for model in data.get("model", []):
            model[leaf] = value
    elif section:
        data.setdefault(section, {})[leaf] = value
    else:
        data[leaf] = value


def _models_of(layer: Mapping[str, Any]) -> list[str]:
    paths = layer.get("model.path", ())
    return paths.split(",") if isinstance(paths, str) else list(paths)


def _apply_own(data: dict[str, Any], own: list[dict[str, str]], origin: str) -> None:
    """What ``PATH:key=value`` says of one model beats what is said of all of them."""
    infos = {info.key: info for info in describe()}
    for model, values in zip(data["model"], own, strict=True):
        for leaf, text in values.items():
            key = f"model.{leaf}"
            if key not in infos or leaf == "path":
                known = [k for k in infos if k.startswith("model.") and k != "model.path"]
                raise SettingsError(f"{origin}: unknown key {leaf!r}{nearest(key, known)}")
            model[leaf] = _single(key, text, infos, origin)


def _apply(data: dict[str, Any], layer: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Lay dotted ``layer`` over ``data``; a ``model.KEY`` goes to every model."""
    infos = {info.key: info for info in describe()}
    for key, value in layer.items():
        if key != "model.path":
            _assign(data, key, _single(key, value, infos, origins[key]))


def _variables(flag_names: Mapping[str, str]) -> dict[str, str]:
    """Variable -> setting: each has one of its own, and one called after its flag."""
    by_flag = {
        ENVIRONMENT_PREFIX + flag.lstrip("-").upper().replace("-", "_"): key
        for key, flag in flag_names.items()
    }
    own = {info.variable: info.key for info in describe() if not info.in_file_alone}
    return {**by_flag, "EDGECAM_MODEL": "model.path", **own}


def _environment_layer(
    environment: Mapping[str, str], flag_names: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    by_variable = _variables(flag_names)
    layer: dict[str, str] = {}
    origins: dict[str, str] = {}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if is_secret(variable):
            continue
        key = by_variable.get(variable)
        if key is None:
            raise SettingsError(
                f"unknown environment variable {variable}{nearest(variable, list(by_variable))}"
            )
        if key in layer and layer[key] != value:
            raise SettingsError(f"{origins[key]} and {variable} set {key} differently; drop one")
        layer[key], origins[key] = value, variable
    return layer, origins


def load(
    config: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    flag_names: Mapping[str, str] | None = None,
) -> Settings:
    """Put the layers together, for one camera.

    ``flags`` maps dotted keys (``mqtt.url``, ``model.path`` as a list of ``PATH[:key=value...]``)
    to given values;
    ``flag_names`` says what each is called on the command line, for errors.

    Raises:
        SettingsError: an unknown key, a wrong type, or a value out of range, in any layer; or the
            file has several cameras, and the flag ``name`` is none of them.
    """
    configs = () if config is None else (config,)
    house = load_house(configs, environment, flags, flag_names)
    if not house.has_several:
        return house.cameras[0]
    names = [camera.name for camera in house.cameras]
    raise SettingsError(
        f"{config}: expected one camera, found {len(names)} ({', '.join(names)}); write the one "
        "that is meant into a file of its own"
    )


def load_house(
    configs: Sequence[Path],
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    flag_names: Mapping[str, str] | None = None,
) -> House:
    """Put the layers together, for all cameras of the files; arguments and errors as ``load``."""
    data = _joined([(str(path), _copied(read_toml(path))) for path in configs])
    names = flag_names or {}
    config = configs[0] if configs else None
    environment = companions.environment_of(config, environment)
    layer, origins = _environment_layer(environment, names)
    # The list of models is settled first: model.KEY of any layer then reaches all of them.
    models = _models_of(flags) or _models_of(layer)
    own: list[dict[str, str]] = []
    if models:
        parts = [model_of(text) for text in models]
        data["model"], own = [{"path": path} for path, _ in parts], [more for _, more in parts]
    for key, path in companions.secret_files(config, environment).items():
        section, _, leaf = key.partition(".")
        data.setdefault(section, {}).setdefault(leaf, path)
    webhooks = companions.beside(config, ".webhooks", environment)
    for hook in data.get("webhook", ()) if webhooks is not None else ():
        hook.setdefault("url_file", str(webhooks))
    _apply(data, layer, origins)
    _apply(data, flags, {key: names.get(key, "settings") for key in flags})
    if models:
        flag = names.get("model.path", "model.path")
        _apply_own(data, own, flag if _models_of(flags) else origins["model.path"])
    _refuse_source(data, {**origins, **{key: names.get(key, key) for key in flags}})
    if any(map(is_secret, environment)):
        from edgecam.settings import cameras

        cameras.take_secrets(data.get("camera", ()), environment, configs)
    process = config.stem if config is not None and len(configs) == 1 else PROCESS
    return _house(data, "settings", process if re.fullmatch(SLUG, process) else PROCESS)


def _joined(files: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The settings of all ``files``, each with its name; of one camera without ``[[camera]]``."""
    if not files:
        return {}
    origin, data = files[0]
    if len(files) == 1 and "camera" not in data:
        return data
    from edgecam.settings import cameras

    data = cameras.joined(files)
    if len(data.get("camera", ())) == 1:
        # Alone it is as a file without [[camera]], which flags beat.
        data = next(cameras.named(data, data.pop("camera"), origin))[1]
    return data


def _refuse_source(data: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """One source for several cameras is meant for none of them."""
    tables = data.get("camera", ())
    if len(tables) > 1 and "source.url" in origins:
        raise SettingsError(
            f"{origins['source.url']}: expected one camera, found {len(tables)} in the settings "
            "file; write each source there"
        )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
