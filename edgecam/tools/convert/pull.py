"""A published model to this machine: downloaded, checked against its first download, converted."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import msgspec

from edgecam.core import atomic_file as whole_file
from edgecam.core import bounded_file
from edgecam.core.bounded_file import MODEL_BYTES, TEXT_BYTES
from edgecam.inference import labels
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import card
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.download import fetch
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.published import Conversion, Published
from edgecam.tools.convert.tfjs import TOPOLOGY_BYTES

PINS = "pins.json"
LABELS = "labels.txt"
# What a download that broke off leaves to go on with, and which version it is of.
_UNFINISHED = (".part", ".part.version")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_MAX_SHARDS = 1000

# File name, bytes that are there, and all of them where that is known.
Progress = Callable[[str, int, int | None], None]


def pull(model: Published, folder: Path, progress: Progress) -> Path:
    """Put a published model into ``folder`` with its card and labels; return the .tflite file.

    The SHA-256 of every file that came is compared with the manifest's, or with that of the first
    download, which is kept in ``pins.json`` there. Nothing is written beside what is there, not
    even that, before all of it is checked and converted.

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
    for path in cache.iterdir():
        if not path.name.endswith(_UNFINISHED):
            path.unlink()
    files = _fetch_all(model, cache, progress)
    pins = _checked(model, files, folder / PINS)
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
    # Only now: a page that asks for a login would be what is expected ever after.
    whole_file.write(folder / PINS, msgspec.json.format(msgspec.json.encode(pins)) + b"\n")
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    return target


def _fetch_all(model: Published, cache: Path, progress: Progress) -> dict[str, str]:
    """Download the model's files into ``cache``; return the SHA-256 of each by address."""
    url, left = model.entry.url, MODEL_BYTES
    found: dict[str, str] = {}

    def get(address: str) -> None:
        name = _name(address)
        target = cache / name
        found[address] = fetch(
            address, target, lambda done, total: progress(name, done, total), max_bytes=left
        )

    get(url)
    if model.entry.kind == "tfjs":
        for address in _shards(cache / _name(url), url):
            left -= (cache / _name(next(reversed(found)))).stat().st_size
            get(address)
    return found


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _shards(document: Path, url: str) -> list[str]:
    """The addresses of the weight files that a model.json names, beside it."""
    try:
        groups = json.loads(bounded_file.read(document, TOPOLOGY_BYTES))["weightsManifest"]
        names = [name for group in groups for name in group["paths"]]
        own = (document.name, LABELS)
        safe = all(_SHARD.fullmatch(name) and name not in own for name in names)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        names, safe = [], False
    if not names or not safe or len(set(names)) != len(names) or len(names) > _MAX_SHARDS:
        raise ConvertError(
            f"{url}: expected a TensorFlow.js model.json with weight files beside it"
        )
    return [urljoin(url, name) for name in names]


def _checked(model: Published, files: dict[str, str], pins: Path) -> dict[str, str]:
    """Compare what came with what is expected; return what will be expected the next time.

    Raises:
        ConvertError: another file came.
    """
    known = _pinned(pins)
    for url, digest in files.items():
        stated = model.entry.sha256 if url == model.entry.url else None
        wanted = (stated or known.get(url, digest)).lower()
        if digest != wanted:
            whose = "the manifest" if stated else f"the first download ({pins})"
            raise ConvertError(
                f"{url}: expected SHA-256 {wanted} as {whose} says, found {digest}; the publisher "
                "changed the file or a machine between changes it: nothing was installed"
            )
    return {**known, **files}


def _pinned(pins: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(bounded_file.read(pins, TEXT_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise ConvertError(
            f"{pins}: expected addresses and their SHA-256 as JSON, found: {found}; fix it, or "
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
        (cache / LABELS).write_bytes(_extract(archive, model.entry.labels_member))
    return target


def _extract(archive: Path, member: str) -> bytes:
    try:
        content = _unzipped if zipfile.is_zipfile(archive) else _untarred
        return content(archive, member)
    except _DAMAGE as error:
        raise ConvertError(f"{archive.name}: expected {member} in it: {error}") from None


# What the readers of archives end in.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def _unzipped(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as packed:
        info = packed.getinfo(member)
        # What unpacks LZMA makes as much room as the file asks for.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"it is compressed by method {info.compress_type}")
        _check_size(info.file_size)
        return packed.read(info)


def _untarred(archive: Path, member: str) -> bytes:
    """Read it as it comes, so that no more than ``MODEL_BYTES`` of it is ever unpacked."""
    with archive.open("rb") as packed, tarfile.open(fileobj=packed, mode="r|*") as tar:
        for info in tar:
            _check_size(info.offset_data + info.size)
            stream = tar.extractfile(info) if info.isreg() and info.name == member else None
            if stream is not None:
                return stream.read()
    raise ValueError("it is not there")


def _check_size(size_bytes: int) -> None:
    if not 0 <= size_bytes <= MODEL_BYTES:
        raise ValueError(f"{size_bytes} bytes, more than {MODEL_BYTES}")


def _label_file(cache: Path) -> Path | None:
    path = cache / LABELS
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
