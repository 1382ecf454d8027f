"""A .tflite out of a bundle of MediaPipe's (.task) or another zip: ``pose.task/NAME.tflite``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from edgecam.core.bounded_file import MODEL_BYTES
from edgecam.inference.tflite.file import read
from edgecam.tools.convert.conversion import Converted, Options
from edgecam.tools.convert.graph import ConvertError

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def members(archive: Path) -> dict[str, int]:
    """Return the bytes of every file in a bundle, by name.

    Raises:
        ConvertError: it is no zip that can be read.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            return {info.filename: info.file_size for info in packed.infolist()}
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise ConvertError(f"{archive}: expected a readable zip, found: {error}") from None


def models(archive: Path) -> list[str]:
    """Return the names of the models in a bundle."""
    return [name for name in members(archive) if name.endswith(".tflite")]


def convert(source: Path, options: Options) -> Converted:
    """Return a member of a zip as it is; ``source`` is the zip, or the zip and a member's name.

    Raises:
        ConvertError: it is no zip, it holds several models or none, or something else is asked.
        ModelError: the member is no model.
    """
    if options != Options():
        raise ConvertError(
            f"{source.name}: a model comes out of a bundle as it is; take it out first, without "
            "other options"
        )
    archive = source if source.is_file() else source.parent
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.endswith(".tflite")]
            wanted = names if archive == source else [source.name]
            if len(wanted) != 1 or wanted[0] not in names:
                raise ConvertError(
                    f"{source}: expected one of the models in it, found "
                    f"{', '.join(names) or 'none'}; give {archive}/NAME.tflite"
                )
            info = packed.getinfo(wanted[0])
            if info.file_size > MODEL_BYTES or info.compress_type not in _METHODS:
                raise ConvertError(
                    f"{archive}: {info.filename} has {info.file_size} bytes, packed by method "
                    f"{info.compress_type}; expected {MODEL_BYTES} at most, stored or deflated"
                )
            data = packed.read(info)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise ConvertError(f"{archive}: expected a readable zip, found: {error}") from None
    read(data, f"{archive.name}/{wanted[0]}")
    return Converted(data)
