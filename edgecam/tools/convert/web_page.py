"""A page that runs a TensorFlow.js model on the camera, from the disk or from any server.

Browsers fetch nothing beside a page that lies on the disk, so the model lies in a script too.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgecam.core import bounded_file
from edgecam.core.errors import ModelError
from edgecam.core.protocols import Decoder
from edgecam.inference.naming import recognise_named
from edgecam.inference.tflite.file import ModelFile
from edgecam.tools.convert import wanted
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lite import LiteModel

LIBRARY = "https://cdn.jsdelivr.net/npm/@tensorflow/tfjs@4.22.0/dist/tf.min.js"
_LIBRARY_FILE = "tf.min.js"
_UNTOLD = "stretch"
_MAX_LIBRARY_BYTES = 32 << 20


def about(file: ModelFile, model: LiteModel) -> dict[str, Any]:
    """Return what a page has to know of a model: its input, normalisation, fit and labels.

    ``mean`` and ``std`` of 0..255 pixels are left out where nothing says them, ``labels`` are
    empty then.
    """
    image = model.tensors[model.inputs[0]]
    decoder: Decoder | None = None
    # Of no family: the page shows what comes out.
    with contextlib.suppress(ModelError):
        decoder = recognise_named(file, (file.inputs, file.outputs), Path(file.name))
    said: dict[str, Any] = {
        "name": file.description or Path(file.name).stem,
        "outputs": [model.tensors[place].name for place in model.outputs],
        "fit": decoder.fit if decoder is not None else _UNTOLD,
        "labels": list(decoder.labels or ()) if decoder is not None else [],
    }
    if len(image.shape) == 4:
        height, width, channels = image.shape[1:]
        said["input"] = {"height": height, "width": width, "channels": channels}
    try:
        normalization = wanted.normalization(file, file.inputs[0])
    except ConvertError:
        return said
    return {**said, "mean": list(normalization.mean), "std": list(normalization.std)}


def files(document: Mapping[str, Any], weights: bytes, library: str) -> dict[str, bytes]:
    """Return the page's files by name; ``library`` is where its ``tf.min.js`` is.

    Raises:
        ConvertError: the model takes no picture or does not say how it is normalised, or the
            library cannot be read.
    """
    said = document["userDefinedMetadata"]
    if "input" not in said or "mean" not in said:
        raise ConvertError(
            f"--page: expected a model of one picture that says its normalisation, found "
            f"{said['name']}; convert it with --mean and --std first"
        )
    held = {key: value for key, value in document.items() if key != "weightsManifest"}
    held["weightSpecs"] = [
        entry for group in document["weightsManifest"] for entry in group["weights"]
    ]
    held["weights"] = base64.b64encode(weights).decode()
    script = f"const MODEL = {json.dumps(held, separators=(',', ':'))};\n"
    made = {"model.js": script.encode(), "page.js": _part("page.js")}
    address = library
    if urlsplit(library).scheme not in ("http", "https"):
        made[_LIBRARY_FILE], address = _read(Path(library)), _LIBRARY_FILE
    return {**made, "index.html": _part("index.html").replace(b"LIBRARY", _attribute(address))}


def _part(name: str) -> bytes:
    return resources.files("edgecam.tools.convert").joinpath("page", name).read_bytes()


def _attribute(text: str) -> bytes:
    from html import escape

    return escape(text).encode()


def _read(path: Path) -> bytes:
    try:
        return bounded_file.read(path, _MAX_LIBRARY_BYTES)
    except OSError as error:
        raise ConvertError(f"--page-library {path}: {error.strerror or error}") from None
