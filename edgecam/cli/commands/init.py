"""``edgecam init``: a settings file with every key, its meaning and its default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from edgecam.core import atomic_file
from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say
from edgecam.settings.load import LISTS, SettingInfo, describe, parse, parse_toml
from edgecam.settings.schema import DEFAULT_MODEL

# What stands for a setting that has no default, so that its line is TOML.
EXAMPLES: dict[str, Any] = {
    "title": "Front door",
    "watchdog_s": 60.0,
    "max_frames": 100,
    "rate_hz": 10.0,
    "model.path": DEFAULT_MODEL,
    "model.input_size": "353x481",
    "model.labels": "labels.txt",
    "model.rate_hz": 5.0,
    "source.width_px": 1280,
    "source.height_px": 720,
    "source.rate_hz": 15.0,
    "source.max_megapixels": 25.0,
    "source.tls_ca_file": "/etc/edgecam/camera-ca.pem",
    "refine": "thunder",
    "turned_look_s": 10.0,
    "scene.pitch_degrees": 20.0,
    "scene.height_m": 2.2,
    "inference.threads": 2,
    "mqtt.url": "mqtt://homeassistant.local",
    "mqtt.username": "edgecam",
    "mqtt.password_file": "/etc/edgecam/password",
    "mqtt.ca_file": "/etc/edgecam/ca.pem",
    "mqtt.certificate_file": "/etc/edgecam/client.pem",
    "mqtt.key_file": "/etc/edgecam/client.key",
    "mqtt.spool_directory": "/var/lib/edgecam",
    "homeassistant.area": "Hall",
    "output.jsonl": "results.jsonl",
    "output.events_jsonl": "events.jsonl",
    "output.result_max_hz": 5.0,
    "recorder.directory": "/var/lib/edgecam/recordings",
    "web.listen": "127.0.0.1:8080",
    "web.token_file": "/etc/edgecam/web-token",
    "web.read_token_file": "/etc/edgecam/web-read-token",
    "zone.name": "door",
    "zone.polygon": [[0.0, 0.5], [0.3, 0.5], [0.3, 1.0], [0.0, 1.0]],
    "mask.name": "television",
    "mask.polygon": [[0.6, 0.1], [0.9, 0.1], [0.9, 0.4], [0.6, 0.4]],
    "webhook.name": "phone",
    "webhook.url_file": "/etc/edgecam/front.phone-url",
    "webhook.body": '{"text": "$title: $event_type in $zone"}',
    "line.name": "gate",
    "line.start": [0.2, 0.5],
    "line.end": [0.8, 0.5],
}
_HEAD = """# Settings of the camera {name}: edgecam --config {file} runs it.
# A line that is commented out shows the default, or an example where there is none.
# edgecam help settings says more, and edgecam schema settings is for editors.
"""
_TAIL = """
# Several cameras in one process: one [[camera]] for each, with a name and a source of its own. What
# stands above is the default of each of them (edgecam help many-cameras).
#     [[camera]]
#     name = "hall"
#     source = "rtsp://hall.local/stream"
#     rate_hz = 10
#     priority = 2
"""


def _value(info: SettingInfo) -> str | None:
    """The default, or an example, as TOML; None of what has neither."""
    value = EXAMPLES.get(info.key, info.default)
    if value is None:
        return None
    # JSON's texts, numbers, truth values and lists are TOML as well.
    return json.dumps(value, ensure_ascii=False)


def _lines(name: str) -> Iterator[str]:
    infos = [info for info in describe() if info.key != "plugin"]
    for section, group in groupby(infos, lambda info: info.key.rpartition(".")[0]):
        if section:
            header = f"[[{section}]]" if section in LISTS else f"[{section}]"
            yield ""
            yield header if section == "model" else f"# {header}"
        for info in group:
            yield from _setting(info, name)


def _setting(info: SettingInfo, name: str) -> Iterator[str]:
    leaf = info.key.rpartition(".")[2]
    text = f'"{name}"' if info.key == "name" else _value(info)
    if text is None:
        return
    if info.description:
        yield f"# {info.description}"
    yield f"{leaf} = {text}" if info.key in ("name", "model.path") else f"# {leaf} = {text}"


def commented(name: str, file: str) -> str:
    """The text of the settings file of the camera ``name``."""
    return "\n".join([_HEAD.format(name=name, file=file), *_lines(name)]) + "\n" + _TAIL


@click.command("init")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; - is stdout.  [default: NAME.toml here]",
)
def command(name: str, output: Path | None) -> None:
    """Write a settings file for the camera NAME, with every key commented out.

    \b
    edgecam init front
    edgecam --config front.toml
    """
    parse("name", name, "NAME")
    path = output or Path(f"{name}.toml")
    text = commented(name, str(path))
    parse_toml(text.encode(), str(path))
    if str(path) == "-":
        for line in text.splitlines():
            say(line)
        return
    if path.exists():
        raise EdgecamError(f"{path}: expected no such file, found one; give --output another name")
    atomic_file.check(path)
    atomic_file.write(path, text.encode())
    say(f"{path}: written; edgecam --config {path} runs it", err=True)
