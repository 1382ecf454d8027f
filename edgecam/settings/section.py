"""What every section of the settings is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from edgecam.core.picture_bounds import MAX_MEGAPIXELS

SLUG, SIZE = r"^[a-z0-9_-]{1,64}$", r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"
TOPIC = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"
# What the message says to a person who did not write so.
IN_WORDS = {
    SLUG: "1 to 64 characters of a-z0-9_- (no capitals, no spaces)",
    TOPIC: "a topic of A-Za-z0-9_- between its slashes",
    SIZE: "HEIGHTxWIDTH in pixels, as in 353x481",
}
Slug = Annotated[str, Meta(pattern=SLUG)]
Title = Annotated[str, Meta(min_length=1, max_length=64)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86400.0)]
Hertz = Annotated[float, Meta(gt=0.0, le=1000.0)]
Celsius = Annotated[float, Meta(ge=0.0, le=150.0)]
Count = Annotated[int, Meta(ge=1)]
Pixels = Annotated[int, Meta(ge=16, le=16384)]
Megapixels = Annotated[float, Meta(gt=0.0, le=MAX_MEGAPIXELS)]
Threads = Annotated[int, Meta(ge=1, le=64)]
TopicName = Annotated[str, Meta(pattern=TOPIC)]
Size = Annotated[str, Meta(pattern=SIZE)]
Point = tuple[Fraction, Fraction]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, and refusing keys it does not know."""


def fields_of(section: type[Section]) -> Iterator[tuple[str, Any, Any]]:
    """Name, annotated type and default of each setting of a section; None without a default."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        default = None if field.default is msgspec.NODEFAULT else field.default
        yield field.name, hints[field.name], default


def description_of(annotated: Any) -> str:
    """The description in a setting's annotated type, empty where there is none."""
    for part in get_args(annotated)[1:]:
        if isinstance(part, msgspec.Meta) and part.description:
            return part.description
    return next((d for d in map(description_of, get_args(annotated)) if d), "")
