"""A model's family together with the names of its classes: one decides about the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgecam.core.errors import ModelError
from edgecam.core.protocols import Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import labels
from edgecam.inference.decoders import context_of, recognise
from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.metadata import metadata

log = logging.getLogger(__name__)


def recognise_named(
    file: ModelFile,
    tensors: tuple[Sequence[TensorInfo], Sequence[TensorInfo]],
    path: Path,
    given: Path | None = None,
    card_labels: str | None = None,
    rules: str = "auto",
    plugins: Sequence[str] = (),
) -> Decoder:
    """Return the decoder of a model's family, with its labels where they are to be found.

    ``tensors`` are inputs and outputs. ``given`` is a label file that is asked for,
    ``card_labels`` the name of the one that the card at ``path`` names, ``rules`` and ``plugins``
    are as in ``FamilyContext``.

    Raises:
        ModelError: no family knows it, or labels that belong to it do not fit.
    """
    found, card = metadata(file), path.with_name(card_labels) if card_labels else None
    known = labels.resolve(given, path, card, found)
    context = context_of(file, known, rules, plugins)
    refused = []
    for origin, names in labels.guesses(path, found) if known is None else ():
        try:
            decoder = recognise(*tensors, replace(context, labels=names))
        except ModelError as error:
            refused.append(f"{origin}: {str(error).splitlines()[0]}")
            continue
        if decoder.labels is not None:
            return decoder
        # It has no classes to name.
        break
    decoder = recognise(*tensors, context)
    if decoder.labels is None and decoder.finds in ("boxes", "classes"):
        for reason in refused:
            log.warning("%s; not used, and the classes have numbers for names", reason)
    return decoder
