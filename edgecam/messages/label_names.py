"""Labels as parts of topics and of entities: different labels, different parts.

A label of ASCII is its slug: ``traffic light`` is ``traffic_light``. Any other is written in Latin
letters first, by the names that Unicode gives its characters: those never change, so that a topic
stays what it is with the next version of Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from edgecam.core.errors import SettingsError

# A letter, and what stands for it.
_CYRILLIC = (
    "аa бb вv гg дd еe ёyo жzh зz иi йy кk лl мm нn оo пp рr сs тt уu фf хkh цts чch шsh щshch ъ "
    "ыy ь эe юyu яya єye іi їyi ґg ўu"
)
_GREEK = "αa βb γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs ςs τt υy φf χch ψps ωo"
_OTHERS = "ßss æae œoe øo đd ðd łl þth ıi"
_LETTERS = {each[0]: each[1:] for line in (_CYRILLIC, _GREEK, _OTHERS) for each in line.split(" ")}
_NAMED = re.compile(r"(?:LETTER|SYLLABLE|SIGN|DIGIT)(?: [A-Z]+)*? ([A-Z]+)$")


MAX_SLUG_LENGTH = 64
_NOT_SLUG = re.compile(r"[^a-z0-9_-]+")


def slug(text: str) -> str:
    """``text`` as a topic part, [a-z0-9_-]{1,64}: lower case, every other run one ``_``."""
    return _NOT_SLUG.sub("_", text.lower())[:MAX_SLUG_LENGTH] or "_"


def label_key(label: str) -> str:
    """What two labels are the same by: the slug of ASCII, else the text without its case."""
    return slug(label) if label.isascii() else unicodedata.normalize("NFC", label.lower())


def in_latin(text: str) -> str:
    """``text`` in ASCII, in small letters."""
    return "".join(map(_letter, unicodedata.normalize("NFC", text.lower())))


def _letter(character: str) -> str:
    if character.isascii():
        return character
    if character in _LETTERS:
        return _LETTERS[character]
    named = _NAMED.search(unicodedata.name(character, ""))
    plain = unicodedata.normalize("NFKD", character)
    if plain != character and not (named and "가" <= character <= "힣"):
        return "".join(map(_letter, plain))
    if unicodedata.combining(character):
        return ""
    if named is not None:
        return named[1].lower()
    # An ideograph, which says nothing of how it is read.
    return f"u{ord(character):x}"


def topic_part(label: str) -> str:
    """A label as part of a topic, where no other label is known."""
    return slug(label) if label.isascii() else slug(in_latin(label))


def topic_parts(labels: Iterable[tuple[str, int]]) -> Mapping[str, str]:
    """Return the part of a topic of every label of a run, by its key.

    ``labels`` come with the numbers of their classes, which tell those apart that are the same in
    Latin letters.

    Raises:
        SettingsError: two labels would share one topic all the same.
    """
    numbers: dict[str, int] = {}
    shown: dict[str, set[str]] = {}
    for label, number in labels:
        key = label_key(label)
        numbers.setdefault(key, number)
        shown.setdefault(key, set()).add(label)
    taken: dict[str, list[str]] = {}
    for key in numbers:
        taken.setdefault(topic_part(key), []).append(key)
    parts: dict[str, str] = {}
    for part, keys in taken.items():
        for key in keys:
            alone = len(keys) == 1 or key.isascii()
            parts[key] = part if alone else f"{part[:56]}_{numbers[key]}"
    owners: dict[str, str] = {}
    for key, part in parts.items():
        same = sorted(shown[key] | shown.get(owners.setdefault(part, key), set()))
        if owners[part] != key or len({name.casefold() for name in same}) > 1:
            first, second = same[:2]
            raise SettingsError(
                f"labels {first!r} and {second!r} would share the topic count/{part}: expected "
                "labels that differ in letters or digits; change one in the label file"
            )
    return parts
