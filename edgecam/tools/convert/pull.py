"""A published model to this machine: downloaded, checked against its first download, converted."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import msgspec

from edgecam.core import atomic_file as whole_file
from edgecam.inference import labels
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import card
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.download import fetch
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.published import Conversion, Published

PINS = "pins.json"
_MAX_MEMBER_BYTES = 1 << 30

# File name, bytes that are there, and all of them where that is known.
Progress = Callable[[str, int, int | None], None]


def pull(model: Published, folder: Path, progress: Progress) -> Path:
    """Put a published model into ``folder`` with its card and labels; return the .tflite file.

    The SHA-256 of every file that came is compared with the manifest's, or with that of the first
    download, which is kept in ``pins.json`` there. Nothing is written beside what is there before
    all of it is checked and converted.

    Raises:
        ConvertError: it cannot be downloaded, another file came than before, or an archive lacks
            what the manifest wants.
        EdgecamError: it does not convert, or is no model.
    """
    cache = folder / ".download" / model.name
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvertError(f"cannot make {cache}: {error.strerror or error}") from None
    files = _fetch_all(model, cache, folder / PINS, progress)
    source = _wanted(model, cache, files)
    label_file = _label_file(cache)
    data = source.read_bytes()
    if model.convert is not None:
        data = convert(source, _options(model.convert, label_file)).data
    read(data, source.name)
    target = folder / f"{model.name}.tflite"
    if label_file is not None and model.convert is None:
        whole_file.write(folder / f"{model.name}_labels.txt", label_file.read_bytes())
    whole_file.write(target, data)
    whole_file.write(target.with_suffix(".toml"), _card(model, data, files).encode())
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    return target


def _fetch_all(model: Published, cache: Path, pins: Path, progress: Progress) -> dict[str, str]:
    """Download the model's files into ``cache``; return the SHA-256 of each by address."""
    url = model.entry.url
    found = {url: _fetch(url, cache, pins, progress, model.entry.sha256)}
    if model.entry.kind == "tfjs":
        for address in _shards(cache / _name(url), url):
            found[address] = _fetch(address, cache, pins, progress, None)
    return found


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _shards(document: Path, url: str) -> list[str]:
    """The addresses of the weight files that a model.json names, beside it."""
    try:
        groups = json.loads(document.read_bytes())["weightsManifest"]
        names = [name for group in groups for name in group["paths"]]
        safe = all(isinstance(name, str) and name == _name(name) != "" for name in names)
    except (ValueError, KeyError, TypeError):
        names, safe = [], False
    if not names or not safe:
        raise ConvertError(
            f"{url}: expected a TensorFlow.js model.json with weight files beside it"
        )
    return [urljoin(url, name) for name in names]


def _fetch(url: str, cache: Path, pins: Path, progress: Progress, expected: str | None) -> str:
    name = _name(url)
    target = cache / name
    digest = fetch(url, target, lambda done, total: progress(name, done, total))
    known = _pinned(pins)
    wanted = expected or known.get(url)
    if wanted is not None and digest != wanted:
        target.unlink()
        whose = "the manifest" if expected else f"the first download ({pins})"
        raise ConvertError(
            f"{url}: expected SHA-256 {wanted} as {whose} says, found {digest}; the publisher "
            "changed the file or somebody stands between: nothing was installed"
        )
    if wanted is None:
        whole_file.write(
            pins, msgspec.json.format(msgspec.json.encode({**known, url: digest})) + b"\n"
        )
    return digest


def _pinned(pins: Path) -> dict[str, str]:
    if not pins.exists():
        return {}
    try:
        return msgspec.json.decode(pins.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise ConvertError(
            f"{pins}: expected addresses and their SHA-256 as JSON, found: {error}; mend it, or "
            "remove it to trust the next downloads"
        ) from None


def _wanted(model: Published, cache: Path, files: dict[str, str]) -> Path:
    """The model's file: what was downloaded, or what is in it."""
    archive = cache / _name(next(iter(files)))
    member = model.entry.member
    if model.entry.kind not in ("zip", "tar") or member is None:
        return archive
    target = cache / _name(member)
    target.write_bytes(_extract(archive, member))
    if model.entry.labels_member is not None:
        (cache / "labels.txt").write_bytes(_extract(archive, model.entry.labels_member))
    return target


def _extract(archive: Path, member: str) -> bytes:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                if packed.getinfo(member).file_size <= _MAX_MEMBER_BYTES:
                    return packed.read(member)
        else:
            with tarfile.open(archive) as tar:
                info = tar.getmember(member)
                stream = tar.extractfile(info)
                if stream is not None and info.size <= _MAX_MEMBER_BYTES:
                    return stream.read()
    except (KeyError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ConvertError(f"{archive.name}: expected {member} in it: {error}") from None
    raise ConvertError(f"{archive.name}: {member} is no file of at most {_MAX_MEMBER_BYTES} bytes")


def _label_file(cache: Path) -> Path | None:
    path = cache / "labels.txt"
    if not path.exists():
        return None
    labels.load(path)
    return path


def _options(asked: Conversion, label_file: Path | None) -> Options:
    size = None
    if asked.size is not None:
        height, _, width = asked.size.partition("x")
        size = int(height), int(width)
    return Options(size=size, half=asked.half, postprocess=asked.postprocess, labels=label_file)


def _card(model: Published, data: bytes, files: dict[str, str]) -> str:
    entry = model.entry
    fields = {
        "file": f"{model.name}.tflite",
        "sha256": hashlib.sha256(data).hexdigest(),
        "family": entry.family,
        "description": entry.description,
        "origin": entry.url,
        "named_by": entry.named_by,
        "licence": entry.licence,
        "copyright": entry.publisher,
        "command": f"edgecam models pull {model.name}",
    }
    return card.table("model", fields) + "\n" + card.table("downloads", files)
