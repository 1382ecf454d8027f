"""Reference pages made from the code: each name under docs/ and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from docs_pages.commands_page import commands_page
from docs_pages.events_page import events_page
from docs_pages.messages_page import messages_page
from docs_pages.python_page import python_page
from docs_pages.rooms_page import rooms_page

from edgecam.cli.options import FLAG_NAMES
from edgecam.settings.cameras import PER_CAMERA
from edgecam.settings.load import SettingInfo, describe

_TYPE_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"), ("lt", "below {}"))


HEAD = """# Settings

A key is written `[section] key` in the TOML file and `EDGECAM_SECTION_KEY` in the environment, or
after its flag, `--score-threshold` as `EDGECAM_SCORE_THRESHOLD`. Flags beat the environment, which
beats the file, which beats the default. An unknown key or a value out of range is refused with the
key, what was expected and the nearest valid key. `[[model]]`, `[[zone]]`, `[[mask]]` and `[[line]]`
may stand several times; the last three are in the file alone.

`[[camera]]` makes one process serve [several cameras](many-cameras.md). Each has a `name` and a
`source`, a text, a number or a table; what else it says is its own, and the same above the first
`[[camera]]` is the default of all: {per_camera}.

```toml
# /etc/edgecam/front.toml
name = "front"

[[model]]
path = "posenet"
input_size = "353x481"

[source]
url = "rtsp://camera.local/stream"
wait = true

[mqtt]
url = "mqtts://broker.local"
username = "edgecam"
password_file = "/etc/edgecam/password"
```

This page is written by `scripts/make-reference`.
"""


def range_of(annotated: Any) -> str:
    """What a value may be, in words, without its description."""
    origin = get_origin(annotated)
    if origin is Annotated:
        kind, *notes = get_args(annotated)
        words = [range_of(kind)]
        for note in (note for note in notes if isinstance(note, msgspec.Meta)):
            words += [
                text.format(f"{value:,}" if isinstance(value, int) else f"{value:g}")
                for name, text in _BOUNDS
                if (value := getattr(note, name)) is not None
            ]
            if note.pattern:
                words.append(f"`{note.pattern}`")
        return " ".join(words)
    if origin in (Union, UnionType):
        return " or ".join(range_of(part) for part in get_args(annotated) if part is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotated))
    if origin is tuple:
        return f"list of {range_of(get_args(annotated)[0])}"
    if origin is dict:
        return "tables by name"
    return _TYPE_NAMES.get(annotated, getattr(annotated, "__name__", str(annotated)))


def default_of(info: SettingInfo) -> str:
    if info.default in (None, (), {}) or info.key == "model.path":
        return ""
    if isinstance(info.default, tuple):
        return ", ".join(f"`{value}`" for value in info.default)
    shown = str(info.default).lower() if isinstance(info.default, bool) else info.default
    return f"`{shown}`"


def settings_page() -> str:
    """Every setting: key, what it takes, default, flag and description."""
    own = ", ".join(f"`{key}`" for key in PER_CAMERA if key not in ("name", "source"))
    rows = [
        HEAD.replace("{per_camera}", own),
        "| key | takes | default | flag | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    for info in describe():
        flag = FLAG_NAMES.get(info.key, "")
        cells = (
            f"`{info.key}`",
            range_of(info.type).replace("|", "\\|"),
            default_of(info),
            f"`{flag}`" if flag else "",
            info.description.replace("|", "\\|"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "events.md": events_page,
    "messages.md": messages_page,
    "python-api.md": python_page,
    "rooms.md": rooms_page,
    "settings.md": settings_page,
}
