"""The page of a photograph, flat: its real aspect ratio, the perspective warp, and the file.

Source: the aspect ratio by Zhang and He, "Whiteboard scanning and image enhancement" (Digital
Signal Processing 17, 2007), section 3.2: the picture of a rectangle tells the camera's focal
length and the rectangle's shape, if pixels are square and the optical axis is at the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.quadrilateral import Corners

_MAX_SIDE_PX = 8000
_JPEG_QUALITY = 92
# Focal lengths that cameras have, in units of the picture's longer side; a page seen almost
# straight on does not tell, and there it hardly matters.
_FOCAL = (0.6, 2.0)
_USUAL_FOCAL = 0.9
# Points in an inch; a page of a PDF is made as long as a sheet of A4.
_PDF_LONG_SIDE_PT = 297 / 25.4 * 72


def aspect_ratio(corners: Corners, width_px: int, height_px: int) -> float:
    """Width over height of the rectangle whose picture ``corners`` are, in a picture that large."""
    middle = np.array(((width_px - 1) / 2, (height_px - 1) / 2))
    unit = float(max(width_px, height_px))
    top_left, top_right, bottom_right, bottom_left = np.column_stack(
        ((corners - middle) / unit, np.ones(4))
    )
    across = _vanishing(top_left, top_right, bottom_left, bottom_right)
    down = _vanishing(top_left, bottom_left, top_right, bottom_right)
    focal = _USUAL_FOCAL
    if abs(across[2] * down[2]) > 1e-4:
        squared = -float(across[:2] @ down[:2]) / float(across[2] * down[2])
        if squared > 0:
            focal = float(np.clip(np.sqrt(squared), *_FOCAL))
    lengths = [np.hypot(np.linalg.norm(side[:2]) / focal, side[2]) for side in (across, down)]
    return float(lengths[0] / lengths[1])


def _vanishing(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    other_start: NDArray[np.float64],
    other_end: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The side's direction in space up to the focal length, float64[3], by the parallel side."""
    scale = float(np.cross(start, other_end) @ other_start) / float(
        np.cross(end, other_end) @ other_start
    )
    return np.asarray(scale * end - start, np.float64)


def flattened(image: Image, corners: Corners, ratio: float | None = None) -> Image:
    """The page alone, uint8[h, w, 3], as large as the picture shows it; ``ratio`` is its w / h."""
    height, width = image.shape[:2]
    ratio = aspect_ratio(corners, width, height) if ratio is None else ratio
    sides = np.linalg.norm(np.roll(corners, -1, 0) - corners, axis=1)
    tall = max(float(max(sides[1], sides[3])), float(max(sides[0], sides[2])) / ratio)
    tall = min(tall, _MAX_SIDE_PX, _MAX_SIDE_PX / ratio)
    size = max(1, round(tall * ratio)), max(1, round(tall))
    # Pixel indices, of which the page's edge is half a pixel before the first.
    low, right, bottom = -0.5, size[0] - 0.5, size[1] - 0.5
    target = np.array(((low, low), (right, low), (right, bottom), (low, bottom)), np.float32)
    view = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    flat = cv2.warpPerspective(
        image, view, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(flat, np.uint8)


def encoded(page: Image, suffix: str) -> bytes:
    """The file: .png, .jpg, .jpeg or .pdf.

    Raises:
        EdgecamError: this OpenCV cannot encode it.
    """
    if suffix == ".pdf":
        return _pdf(_picture(page, ".jpg"), page.shape[1], page.shape[0])
    return _picture(page, suffix)


def _picture(page: Image, suffix: str) -> bytes:
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, data = cv2.imencode(suffix, page, options)
    if not done:
        raise EdgecamError(f"this OpenCV does not write {suffix}; take another suffix")
    return bytes(data)


def _pdf(jpeg: bytes, width_px: int, height_px: int) -> bytes:
    """One page with one picture (PDF 1.4, ISO 32000): five objects and where they begin."""
    scale = _PDF_LONG_SIDE_PT / max(width_px, height_px)
    width, height = f"{width_px * scale:.2f}", f"{height_px * scale:.2f}"
    drawing = f"q {width} 0 0 {height} 0 0 cm /Page Do Q".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R "
        "/Resources << /XObject << /Page 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 8 /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream"
        % (width_px, height_px, len(jpeg), jpeg),
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
    )
    return bytes(out)
