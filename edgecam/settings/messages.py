"""What is said of settings that will not do: one line with the key and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from edgecam.core.errors import SettingsError
from edgecam.core.redaction import quoted
from edgecam.settings.forms import SYNONYMS
from edgecam.settings.section import IN_WORDS, SLUG

# msgspec's words for types, and those of people.
_GOT = re.compile(r", got (int|float|str|array|object|bool|null|datetime|date|time)$")
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_TYPE = re.compile(r"Expected (int|float|str|bool|array|object)\b(.*)")
_NO_CHOICE = re.compile(r"Invalid enum value '(.*)'")
# How much is shown of what was found.
_SHOWN = 200


def nearest(key: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known key nearest to ``key``, or nothing."""
    import difflib

    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def plain(message: str) -> str:
    """msgspec's words without its marks, and a pattern in words."""
    for pattern, words in IN_WORDS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    message = _GOT.sub("", message.replace("`", "").replace(" | null", ""))
    message = message.replace("str matching regex", "text matching")
    if message == "Expected str of length >= 1":
        return "Expected some text"
    return _TYPE.sub(lambda found: f"Expected {_TYPES[found[1]]}{found[2]}", message)


def single(error: msgspec.ValidationError, value: Any, annotated: Any) -> str:
    """What is wrong with one value of this type."""
    message = str(error).partition(" - at `$")[0]
    if (words := _choice(message, annotated)) is not None:
        return words
    words = plain(message)
    return f"{words}{hint(value, words)}, found {quoted(value)}"


def hint(value: Any, message: str) -> str:
    """What was meant by ``value``, of which ``message`` says what was expected; or nothing."""
    if isinstance(value, str) and IN_WORDS[SLUG] in message:
        fitting = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-")[:64]
        return f" ({fitting!r} is one; a title may be any text)" if fitting else ""
    if not message.endswith("a number <= 1.0"):
        return ""
    try:
        percent = float(value)
    except (TypeError, ValueError):
        return ""
    return f" ({percent:g} % is {percent / 100:g})" if 1.0 < percent <= 100.0 else ""


def choices(annotated: Any) -> list[str]:
    """The words that a setting of this type may be, none where it is no choice."""
    if get_origin(annotated) is Literal:
        return [str(word) for word in get_args(annotated)]
    return [word for part in get_args(annotated) for word in choices(part)]


def _choice(message: str, annotated: Any) -> str | None:
    """Expected and found of a word that is none of a choice; None of any other fault."""
    wrong, known = _NO_CHOICE.search(message), choices(annotated)
    if wrong is None or not known:
        return None
    words = f"{', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else known[0]
    return f"Expected {words}{nearest(wrong[1], known)}, found {quoted(wrong[1]):.{_SHOWN}}"


def _at(data: Any, path: list[str]) -> Any:
    """The value there, ``...`` where there is none."""
    for part in path:
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return ...
    return data


def refusal(
    error: msgspec.ValidationError, data: Mapping[str, Any], origin: str, types: Mapping[str, Any]
) -> SettingsError:
    """msgspec's words and path as one line with the key, the expectation and the nearest key.

    ``types`` are those of the settings, by dotted key.
    """
    keys = list(types)
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".").replace("[...]", ".0")
    parts = [p for p in re.sub(r"\[(\d+)\]", r".\1", path).split(".") if p]
    unknown = re.search(r"unknown field `([^`]*)`", message)
    section = ".".join(p for p in parts if not p.isdigit())
    if unknown is None:
        if not parts:
            # Of several keys at once: the words say which.
            return SettingsError(f"{origin}: {plain(message)}")
        if (words := _choice(message, types.get(section))) is not None:
            return SettingsError(f"{origin}: {section}: {words}")
        value, words = _at(data, parts), plain(message)
        found = "" if value is ... else f", found {quoted(value):.{_SHOWN}}"
        return SettingsError(f"{origin}: {section}: {words}{hint(value, words)}{found}")
    key = f"{section}.{unknown[1]}" if section else unknown[1]
    if key in SYNONYMS:
        return SettingsError(f"{origin}: unknown key {key!r}; it is called {SYNONYMS[key]} here")
    own = [k for k in keys if section and k.startswith(f"{section}.")]
    known = own or [*keys, *sorted({k.split(".")[0] for k in keys if "." in k})]
    return SettingsError(f"{origin}: unknown key {key[:_SHOWN]!r}{nearest(key, known)}")


def _is_whole(text: str) -> bool:
    try:
        # A file name of any bytes comes as text with such escapes in it.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def check_texts(data: Any, origin: str) -> None:
    """Refuse text that can be no path, address or name, at any depth of ``data``.

    Raises:
        SettingsError: a text holds a NUL byte or half a character.
    """
    # No recursion: the author of the TOML says how deep it goes.
    left = [("", data)]
    while left:
        key, value = left.pop()
        if isinstance(value, Mapping):
            left += [(f"{key}.{name}"[-80:].lstrip("."), part) for name, part in value.items()]
        elif isinstance(value, list | tuple):
            left += [(key, part) for part in value]
        elif isinstance(value, str) and ("\0" in value or not _is_whole(value)):
            what = "a NUL byte" if "\0" in value else "half a character"
            where = f"{origin}: {key}" if key else origin
            shown = quoted(value)[:_SHOWN]
            raise SettingsError(
                f"{where}: expected text, found {what} in {shown}; write it without"
            )
