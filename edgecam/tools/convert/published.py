"""Models that their publishers offer for download: one manifest each, ``models/published``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgecam.core import bounded_toml
from edgecam.inference import catalog as bundled
from edgecam.tools.convert.graph import ConvertError

Kind = Literal["tflite", "tfjs", "zip", "tar"]


class Conversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is converted on arrival, see ``conversion.Options``."""

    size: str | None = None
    half: bool = False
    postprocess: bool | None = None


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``named_by``: where the publisher's own code names ``url``. ``sha256``: of that file."""

    description: str
    family: str
    kind: Kind
    url: str
    named_by: str
    licence: str
    publisher: str
    member: str | None = None
    labels_member: str | None = None
    sha256: str | None = None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    published: _Entry
    convert: Conversion | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """One model: ``entry`` says where it is, ``convert`` what becomes of it, None to keep it."""

    name: str
    entry: _Entry
    convert: Conversion | None

    def fields(self) -> dict[str, Any]:
        """What the manifest says, for showing."""
        found = {key: value for key, value in msgspec.to_builtins(self.entry).items() if value}
        if self.convert is not None:
            found["convert"] = msgspec.to_builtins(self.convert)
        return found


def read(path: Path) -> Published:
    """Read a manifest.

    Raises:
        ConvertError: it is no TOML, or a field is missing, unknown or of the wrong type.
    """
    try:
        tables = bounded_toml.loads(path.read_text("utf-8"))
        manifest = msgspec.convert(tables, _Manifest)
    except (OSError, ValueError) as error:
        raise ConvertError(f"manifest {path}: {error}") from None
    if manifest.published.kind in ("zip", "tar") and manifest.published.member is None:
        raise ConvertError(f"manifest {path}: expected member, the file wanted of the archive")
    if manifest.published.kind == "tfjs" and manifest.convert is None:
        raise ConvertError(f"manifest {path}: expected a table [convert] for a TensorFlow.js model")
    return Published(path.stem, manifest.published, manifest.convert)


def every() -> tuple[Published, ...]:
    """Every published model, by name."""
    return tuple(map(read, sorted((bundled.directory() / "published").glob("*.toml"))))


def find(name: str) -> Published:
    """The published model of that name.

    Raises:
        ConvertError: there is none.
    """
    known = {model.name: model for model in every()}
    if name not in known:
        raise ConvertError(f"no published model is called {name!r}; known are: {', '.join(known)}")
    return known[name]
