"""Encoded pictures to BGR: bounded by what they state, and refused where they are damaged."""

from __future__ import annotations

import os

import numpy as np

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.sources.file_format import begins_heif
from edgecam.sources.heif import decode_heif, read_heif
from edgecam.sources.orientation import leaves_turning, orientation, turned
from edgecam.sources.picture_limits import FILE_PIXELS, HEAD_BYTES, check_size, regular
from edgecam.sources.picture_size import stated_size

# A file may take this for each pixel that it may have: more than any that is not compressed.
_MAX_BYTES_PER_PIXEL = 4


def check_picture(data: bytes, most: int) -> None:
    """Refuse what need not be given to a decoder.

    Raises:
        SourceError: the picture is damaged, cut short or of an unknown format; or of kind
            ``too_large``: it states more than ``most`` pixels.
    """
    check_size(*stated_size(data), most)


def decode_image(data: bytes, most: int = FILE_PIXELS) -> Image:
    """Decode any picture to BGR uint8[H, W, 3], 0..255, turned upright as its EXIF tag says.

    16-bit pictures are scaled to 8 bits, grey ones get three channels, alpha is dropped. Of an
    animation it is the first picture.

    Raises:
        SourceError: as ``check_picture``, or OpenCV cannot decode it.
    """
    check_picture(data, most)
    turns_here, flags = leaves_turning(data), cv2.IMREAD_COLOR
    if turns_here:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise SourceError("not a picture that can be decoded") from error
    if image is None:
        raise SourceError("not a picture that can be decoded")
    decoded: Image = image
    return turned(decoded, orientation(data)) if turns_here else decoded


def read_image(path: str | os.PathLike[str], most: int = FILE_PIXELS) -> Image:
    """Decode a file, as ``decode_image``, or a HEIF or AVIF picture.

    Those come from people's own telephones alone: their decoders are not fed by networks.

    Raises:
        SourceError: as that, or it is no regular file, cannot be read or is too large.
    """
    data = read_bytes(path, most)
    if not begins_heif(data[:HEAD_BYTES]):
        return decode_image(data, most)
    stated = read_heif(data)
    check_size(stated.width_px, max(stated.height_px, stated.most_pixels // stated.width_px), most)
    return decode_heif(data, stated)


def read_bytes(path: str | os.PathLike[str], most: int = FILE_PIXELS) -> bytes:
    """The content of a file of a picture of at most so many pixels.

    Raises:
        SourceError: it is no regular file, cannot be read or is too large.
    """
    limit = _MAX_BYTES_PER_PIXEL * most
    try:
        with regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, limit) + 1)
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error
    if len(data) > limit:
        raise SourceError(
            f"the file has more than {limit} bytes; make the picture smaller, or raise "
            "source.max_megapixels"
        )
    return data
