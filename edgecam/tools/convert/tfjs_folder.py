"""Write a TensorFlow.js graph model: model.json and its weights in shards of 4 MB."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.inference.tflite import file as tflite_file
from edgecam.tools.convert import lite_reader, to_tfjs, web_page
from edgecam.tools.convert.graph import Array, ConvertError

SHARD_BYTES = 4 << 20  # what TensorFlow.js's own converter makes: browsers cache no larger ones
# What the generated reader, and lists that contradict each other, end in.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def write(data: bytes, name: str, weights: str, folder: Path, *, library: str | None = None) -> int:
    """Write the TFLite model ``data`` into a new folder; return the bytes of its weights.

    ``weights`` is float32, float16, uint16 or uint8: how kernels are stored; the rest stays. With
    ``library``, the address or file of ``tf.min.js``, a page for the browser lies beside it.

    Raises:
        ConvertError: the folder is not empty or cannot be written, or the model has no such form.
        ModelError: the model is damaged.
    """
    check(folder)
    try:
        text, content = _parts(data, name, weights)
    except _DAMAGE as error:
        raise ConvertError(
            f"{name} is damaged: its operators and tensors do not fit together "
            f"({type(error).__name__}: {error})"
        ) from error
    shards = {
        shard: content[place * SHARD_BYTES : (place + 1) * SHARD_BYTES]
        for place, shard in enumerate(_shard_names(len(content)))
    }
    files = {"model.json": text, **shards}
    if library is not None:
        files |= web_page.files(json.loads(text), content, library)
    _write_folder(folder, files)
    return len(content)


def check(folder: Path) -> None:
    """Refuse a folder that cannot be written, before there is work to lose.

    Raises:
        ConvertError: it is not empty, or cannot be made.
    """
    with _refused(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConvertError(f"{folder} exists; choose a new or empty folder")
        _beside(folder).rmdir()


def _beside(folder: Path) -> Path:
    """A new folder where ``folder`` is to be."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".edgecam-", dir=folder.parent))


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConvertError(f"cannot write {folder}: {error.strerror or error}") from None


def _parts(data: bytes, name: str, weights: str) -> tuple[bytes, bytes]:
    """Return (model.json, all weights)."""
    model = lite_reader.read(data, name, widen=True)
    made = to_tfjs.graph(model, scaled=weights.startswith("uint"))
    parts = []
    entries = []
    for weight_name, values in made.weights.items():
        kept = weights if weight_name in made.kernels else "float32"
        part, entry = _stored(weight_name, values, kept)
        parts.append(part)
        entries.append(entry)
    content = b"".join(parts)
    manifest = [{"paths": _shard_names(len(content)), "weights": entries}]
    document = to_tfjs.document(made, manifest)
    document["userDefinedMetadata"] = web_page.about(tflite_file.read(data, name), made.model)
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.encode(), content


def _shard_names(size_bytes: int) -> list[str]:
    count = max(-(-size_bytes // SHARD_BYTES), 1)
    return [f"group1-shard{number}of{count}.bin" for number in range(1, count + 1)]


def _stored(name: str, values: Array, weights: str) -> tuple[bytes, dict[str, Any]]:
    """Return (bytes, manifest entry) of one weight."""
    entry: dict[str, Any] = {
        "name": name,
        "shape": list(values.shape),
        "dtype": values.dtype.name,
    }
    if weights != "float32":
        quantization: dict[str, float] = {}
        if weights == "float16":
            values = _as_float16(name, values)
        else:
            values, quantization = _as_integers(values, weights)
        entry["quantization"] = {"dtype": weights, "original_dtype": "float32", **quantization}
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return little.tobytes(), entry


def _as_float16(name: str, values: Array) -> Array:
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _LARGEST_FLOAT16:
        raise ConvertError(
            f"the weights {name} reach {largest:g}, expected at most {_LARGEST_FLOAT16:g} for "
            "float16; take --weights float32"
        )
    return values.astype(np.float16)


def _as_integers(values: Array, dtype: str) -> tuple[Array, dict[str, float]]:
    """Return ``(value - min) / scale`` rounded, with both; a zero stays exactly zero."""
    levels = int(np.iinfo(dtype).max)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    scale = (high - low) / levels or 1.0
    low = -round(-low / scale) * scale
    steps = np.rint((values.astype(np.float64) - low) / scale)
    return np.clip(steps, 0, levels).astype(dtype), {"scale": scale, "min": low}


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder that is there with all its files or not at all."""
    with _refused(folder):
        work = _beside(folder)
        try:
            for name, content in files.items():
                (work / name).write_bytes(content)
            work.chmod(0o755)
            work.replace(folder)
        except BaseException:
            shutil.rmtree(work)
            raise
