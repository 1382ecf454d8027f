"""TFLite metadata inside a model file: normalisation, tensor names and label files.

A flatbuffer in the buffer ``TFLITE_METADATA`` (identifier M001) and, behind the model, a ZIP
with the files that it names. Slots are field numbers of ``metadata_schema.fbs`` of TFLite Support.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecam.core.errors import ModelError
from edgecam.core.tensors import Normalization
from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.flatbuffer import DamagedError, Table

if TYPE_CHECKING:
    from zipfile import ZipInfo

BUFFER_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
ANCHORS_NAME = "edgecam_anchors"
# What the description of an input begins with whose normalisation nothing said.
GUESSED = "The normalisation is guessed: nothing said what the network was trained with."
# How a picture filled the input when edgecam taught the model: a key of geometry.FITS.
FIT_NAME = "edgecam_fit"

NORMALIZATION_UNIT = 1  # ProcessUnitOptions.NormalizationOptions
CALIBRATION_UNIT = 2  # ProcessUnitOptions.ScoreCalibrationOptions
LABEL_FILE_TYPES = (2, 3)  # AssociatedFileType TENSOR_AXIS_LABELS and TENSOR_VALUE_LABELS
CALIBRATION_FILE_TYPE = 4  # TENSOR_AXIS_SCORE_CALIBRATION
_ZIP_END = b"PK\x05\x06"
_MAX_FILES = 100
_MAX_FILES_BYTES = 16 << 20
_MAX_DIRECTORY_BYTES = 65_536
_COMPRESSIONS = (0, 8)  # stored and deflated
_ZIP_END_REACH = 65557  # the record is 22 bytes and a comment of up to 65535


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """One input or output: ``mean`` and ``std`` per channel, or one for all; empty where unsaid.

    The model wants ``(value - mean) / std`` of 0..255 RGB values. ``label_files`` are names, those
    for people first: English, another language, none (which may be ids). ``calibration_file`` has
    a line of parameters for each class, for scores transformed by ``transformation`` (an enum of
    the schema); a class without them has ``default_score``. ``guessed``: nothing said ``mean`` and
    ``std`` when the file was made.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_files: tuple[str, ...]
    calibration_file: str | None = None
    transformation: int = 0
    default_score: float = 0.0
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the metadata says: ``files`` holds the content of each packed file by name."""

    name: str
    description: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    files: Mapping[str, bytes]

    @property
    def label_file(self) -> str | None:
        """The packed file with one label a line that an output names."""
        named = [file for output in self.outputs for file in output.label_files]
        return next((file for file in named if file in self.files), None)

    @property
    def lone_text(self) -> str | None:
        """The only packed .txt, which is a label file or any other."""
        found = [file for file in self.files if file.endswith(".txt")]
        return found[0] if len(found) == 1 else None


def metadata(model: ModelFile) -> Metadata:
    """Return the metadata of a model; all parts are empty where it has none.

    Raises:
        ModelError: the metadata or the appended ZIP is damaged.
    """
    files = _packed_files(model)
    raw = model.metadata.get(BUFFER_NAME)
    if raw is None or bytes(raw[4:8]) != IDENTIFIER:
        return Metadata("", "", (), (), files)
    try:
        root = Table.root(raw)
        graphs = root.tables(3, lambda table: table)
        return Metadata(
            name=root.string(0),
            description=root.string(1),
            inputs=graphs[0].tables(2, _tensor) if graphs else (),
            outputs=graphs[0].tables(3, _tensor) if graphs else (),
            files=files,
        )
    except DamagedError as error:
        raise ModelError(f"the metadata in {model.name} is damaged ({error})") from error


def normalization(found: Metadata, name: str = "the model") -> Normalization | None:
    """Return what the metadata says about the picture's values, None where it is silent.

    Raises:
        ModelError: it says it for another number of channels, or divides by 0.
    """
    said = next((entry for entry in found.inputs if entry.mean and entry.std), None)
    if said is None:
        return None
    mean, std = (values * 3 if len(values) == 1 else values for values in (said.mean, said.std))
    values = (*mean, *std)
    if len(mean) != 3 or len(std) != 3 or 0.0 in std or not all(map(math.isfinite, values)):
        raise ModelError(
            f"the metadata in {name} normalises by mean {list(said.mean)} and std"
            f" {list(said.std)}: expected one or three of each, std not 0"
        )
    return Normalization((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _tensor(table: Table) -> TensorMetadata:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    transformation, default_score = 0, 0.0
    for unit in table.tables(4, lambda row: row):
        options, kind = unit.table(1), unit.integer(0, "B")
        if kind == NORMALIZATION_UNIT and options is not None:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        elif kind == CALIBRATION_UNIT and options is not None:
            transformation, default_score = options.integer(0, "b"), options.real(1)
    files = table.tables(6, lambda row: (row.string(0), row.integer(2, "b"), row.string(3)))
    labels = [(locale, name) for name, kind, locale in files if kind in LABEL_FILE_TYPES]
    labels.sort(key=lambda file: (not file[0].lower().startswith("en"), not file[0]))
    calibrations = (name for name, kind, _ in files if kind == CALIBRATION_FILE_TYPE)
    return TensorMetadata(
        name=table.string(0),
        mean=mean,
        std=std,
        label_files=tuple(name for _, name in labels),
        calibration_file=next(calibrations, None),
        transformation=transformation,
        default_score=default_score,
        guessed=table.string(1) == GUESSED,
    )


def _packed_files(model: ModelFile) -> dict[str, bytes]:
    end = model.data.rfind(_ZIP_END, max(0, len(model.data) - _ZIP_END_REACH))
    if end < 0:
        return {}
    import zipfile
    import zlib

    # A directory that says it is larger is not looked at: it alone would take minutes.
    directory_bytes = int.from_bytes(model.data[end + 12 : end + 16], "little")
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        return {}
    try:
        archive = zipfile.ZipFile(io.BytesIO(model.data))
    except (zipfile.BadZipFile, ValueError, RuntimeError, OSError):
        # Four bytes of weights may look like the end of a ZIP.
        return {}
    with archive:
        members = archive.infolist()
        _check_members(members, model.name)
        try:
            return {info.filename: archive.read(info) for info in members}
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError) as why:
            raise ModelError(f"the files packed in {model.name} are damaged ({why})") from why


def _check_members(members: Sequence[ZipInfo], name: str) -> None:
    total = sum(info.file_size for info in members)
    if len(members) > _MAX_FILES or total > _MAX_FILES_BYTES:
        raise ModelError(
            f"{len(members)} files of {total} bytes are packed in {name}: expected label files, "
            f"{_MAX_FILES} of {_MAX_FILES_BYTES} bytes at most; take the model without them"
        )
    # What unpacks LZMA makes as much room as the file asks for.
    odd = next((info for info in members if info.compress_type not in _COMPRESSIONS), None)
    if odd is not None:
        raise ModelError(
            f"{odd.filename!r:.80} packed in {name} is compressed by method {odd.compress_type}: "
            "expected stored or deflated"
        )
