"""The models and clips that install with edgecam or were pulled, and the cards that say whence.

A card is ``NAME.toml`` beside ``NAME.tflite``; a model anywhere may have one. It says the file's
SHA-256, which is checked before the file is loaded.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.core import bounded_file, bounded_toml
from edgecam.core.errors import ModelError
from edgecam.core.places import base_directory, expanded
from edgecam.inference.digest import sha256

_PACKAGE = Path(__file__).parent.parent
# Installed from a wheel the files lie inside the package; in a checkout beside it.
DIRECTORIES = (_PACKAGE / "data" / "models", _PACKAGE.parent / "models")

_FILE_KEYS = frozenset({"file", "labels"})
_LIST_KEYS = frozenset({"aliases", "notes"})
_CONVERTED = "edgecam convert makes a .tflite of it"
_PYTORCH = "a PyTorch file; export it: yolo export format=tflite, or litert-torch"
# What models come as besides, by the file's suffix.
_FOREIGN = {
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".onnx": "an ONNX file; onnx2tf makes a .tflite of it",
    ".pb": f"a TensorFlow graph; {_CONVERTED}",
    ".h5": f"a Keras file; {_CONVERTED}",
    ".keras": f"a Keras file; {_CONVERTED}",
    ".json": f"a TensorFlow.js model; {_CONVERTED}",
    ".engine": "a TensorRT engine; take the model that it was made from",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a model or clip: ``path`` of the card, ``fields`` of its main table."""

    path: Path
    fields: dict[str, Any]

    @property
    def file(self) -> Path:
        """Path of the model file."""
        return self.path.with_name(str(self.fields["file"]))

    @property
    def name(self) -> str:
        """Name of the card, without suffix."""
        return self.path.stem

    @property
    def aliases(self) -> tuple[str, ...]:
        """Short names by which ``--model`` finds it."""
        return tuple(self.fields.get("aliases", ()))


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ModelError: it is no TOML, or names no file or SHA-256.
    """
    try:
        tables = bounded_toml.loads(bounded_file.read(path, bounded_file.TEXT_BYTES).decode())
        fields = tables.get("model") or tables["clip"]
        _ = fields["file"], fields["sha256"]
    except OSError as error:
        raise ModelError(f"card {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ModelError(f"card {path}: expected a readable TOML file, found: {error}") from None
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"card {path}: expected a table [model] with file and sha256, found none of {error}"
        ) from None
    _check(path, fields)
    return Card(path, fields)


def _is_name(text: str) -> bool:
    """Whether it names a file of a folder, and no other place."""
    return text not in ("", "..") and Path(text).name == text and text.isprintable()


def _check(path: Path, fields: dict[str, Any]) -> None:
    """
    Raises:
        ModelError: a field that names files or models does not.
    """
    for key in _FILE_KEYS & fields.keys():
        name = fields[key]
        # A card says what lies beside it, and nothing of the rest of the disk.
        if not isinstance(name, str) or not _is_name(name):
            raise ModelError(
                f"card {path}: {key}: expected the name of a file beside the card, "
                f"found {name!r:.80}"
            )
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", str(fields["sha256"])):
        raise ModelError(
            f"card {path}: sha256: expected 64 hexadecimal digits, found {fields['sha256']!r:.80}"
        )
    for key in _LIST_KEYS & fields.keys():
        found = fields[key]
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise ModelError(f"card {path}: {key}: expected a list of texts, found {found!r:.80}")


def card_of(model: Path) -> Card | None:
    """The card beside ``model``, if there is one.

    Another TOML file of that name, such as an instance's settings, is no card: it states no
    SHA-256.
    """
    path = model.with_suffix(".toml")
    try:
        is_card = b"sha256" in bounded_file.read(path, bounded_file.TEXT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"card {path}: cannot be read: {error.strerror}") from None
    return read_card(path) if is_card else None


def verify(card: Card, data: bytes) -> None:
    """Check a file's bytes against its card.

    Raises:
        ModelError: the SHA-256 differs.
    """
    found = sha256(data)
    expected = str(card.fields["sha256"]).lower()
    if found != expected:
        raise ModelError(
            f"{card.file} does not match its card: expected SHA-256 {expected}, found {found}; "
            "install it again, or remove the card if you changed the model yourself"
        )


@functools.cache
def directory() -> Path:
    """Where the bundled models lie."""
    return next((path for path in DIRECTORIES if path.is_dir()), DIRECTORIES[0])


def pulled_directory() -> Path | None:
    """Where ``edgecam models pull`` puts models: of this user, by the XDG base directories.

    None where this user has no such directory.
    """
    base = base_directory("XDG_DATA_HOME", ".local", "share")
    return None if base is None else base / "edgecam" / "models"


def cards_in(folder: Path | None) -> tuple[Card, ...]:
    """The card of every model in a directory, by name."""
    # A home that this user may not read holds nothing for it.
    if folder is None or not os.access(folder, os.R_OK | os.X_OK):
        return ()
    found = map(read_card, sorted(folder.glob("*.toml")))
    return tuple(card for card in found if card.file.suffix == ".tflite")


@functools.cache
def cards() -> tuple[Card, ...]:
    """Every bundled model's card, by name."""
    return cards_in(directory())


def resolve(name: str) -> Path:
    """The file that ``--model`` names: a path, a bundled or pulled model's name, or its alias.

    Raises:
        ModelError: neither a file nor a model that is known.
        SettingsError: it begins with ``~``, and there is no such home directory.
    """
    path = Path(expanded(name, "model"))
    if os.path.exists(path) or path.parent != Path("."):
        return path
    stem = name.removesuffix(".tflite")
    # What is bundled comes first: a name means the same model on every machine.
    for card in (*cards(), *cards_in(pulled_directory())):
        if stem == card.name or stem in card.aliases:
            return card.file
    raise _unknown(name)


def foreign(name: str) -> str | None:
    """What a file of another suffix is, and how a .tflite comes of it."""
    return _FOREIGN.get(Path(name).suffix.lower())


def _unknown(name: str) -> ModelError:
    what = foreign(name)
    if what is not None:
        return ModelError(f"model {name!r}: expected a .tflite file, found {what}")
    known = [card.aliases[0] if card.aliases else card.name for card in cards()]
    every = [n for card in cards() for n in (*card.aliases, card.name)]
    close = difflib.get_close_matches(name.removesuffix(".tflite"), every, n=1, cutoff=0.5)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return ModelError(
        f"model {name!r}: no such file and no bundled model{meant}; bundled are: "
        f"{', '.join(known) or 'none'}; edgecam models lists those that can be pulled"
    )


def clip() -> Path:
    """The bundled clip of walking people.

    Raises:
        ModelError: the installation lacks it.
    """
    found = sorted((directory() / "clips").glob("*.mp4"))
    if not found:
        raise ModelError(f"no clip in {directory() / 'clips'}; install edgecam again")
    return found[0]
