"""Forms that people write for a setting and that mean one thing only, beside the one it has."""

from __future__ import annotations

import re
from typing import Any

# A leading or trailing point, which msgspec takes for no number.
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+)")
_PORT = re.compile(r"\d{1,5}")
# What asks for the default, of a setting that has none of its own.
AUTO = "auto"
# What people call a setting that has another name here.
SYNONYMS = {
    "mqtt.host": "mqtt.url",
    "mqtt.broker": "mqtt.url",
    "mqtt.server": "mqtt.url",
    "mqtt.port": "mqtt.url",
    "mqtt.user": "mqtt.username",
    "mqtt.password": "mqtt.password_file",
    "model.name": "model.path",
    "source.path": "source.url",
    "source.index": "source.url",
    "source.fps": "source.rate_hz",
    "web.port": "web.listen",
    "web.host": "web.listen",
    "web.token": "web.token_file",
    "inference.num_threads": "inference.threads",
}


def listen(value: Any) -> Any:
    """A port alone is one of loopback."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    text = str(value)
    return f"127.0.0.1:{text}" if _PORT.fullmatch(text) else value


def number(text: str) -> str:
    """``.5`` and ``5.`` as JSON writes them."""
    if not _NUMBER.fullmatch(text):
        return text
    return repr(float(text)) if "inf" not in repr(float(text)) else text


def models(value: Any) -> Any:
    """``model = "posenet"``, a list of such, or ``[model]`` as the list of tables."""
    if isinstance(value, str | dict):
        value = [value]
    if not isinstance(value, list):
        return value
    return [{"path": each} if isinstance(each, str) else each for each in value]


def of_file(data: dict[str, Any]) -> None:
    """Put the plain form in the place of every other in ``data``, read from TOML."""
    if "model" in data:
        data["model"] = models(data["model"])
    source, web, inference = (data.get(name) for name in ("source", "web", "inference"))
    if isinstance(source, str | int) and not isinstance(source, bool):
        data["source"] = source = {"url": source}
    if isinstance(source, dict) and type(source.get("url")) is int:
        source["url"] = str(source["url"])
    if isinstance(web, dict) and "listen" in web:
        web["listen"] = listen(web["listen"])
    if isinstance(inference, dict) and inference.get("threads") == AUTO:
        del inference["threads"]
