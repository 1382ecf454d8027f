"""A finished .tflite written again: constants inside the flatbuffer, packed files behind it.

Quantisers move constants behind the flatbuffer, where older runtimes do not look for them, and
drop what was packed there.
"""

from __future__ import annotations

from collections.abc import Mapping

import flatbuffers
import numpy as np

from edgecam.convert import metadata
from edgecam.convert.writer import IDENTIFIER, AlignedBuffer, generated_schema

_OUTSIDE = 1  # a buffer's offset and size are real from here on; 0 and 1 stand for "inside"


def rewrite(data: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return the model with its constants inside and ``files`` packed behind it.

    Raises:
        ConvertError: ai-edge-litert is not installed.
    """
    schema = generated_schema()
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    for place, buffer in enumerate(root.buffers):
        if (buffer.offset or 0) > _OUTSIDE:
            content = data[buffer.offset : buffer.offset + buffer.size]
        else:
            content = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        root.buffers[place] = AlignedBuffer(schema, content)
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    written = bytes(builder.Output())
    return metadata.append_files(written, files) if files else written
