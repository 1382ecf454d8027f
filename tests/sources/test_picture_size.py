"""What a picture states of its size is read as its decoder reads it, and bounded."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import bombs
import numpy as np
import pytest

from edgecam.core.errors import SourceError
from edgecam.core.opencv import cv2
from edgecam.inference import catalog
from edgecam.settings.schema import SourceSettings
from edgecam.sources.jpeg import MAX_SCANS
from edgecam.sources.picture import decode_image
from edgecam.sources.picture_limits import FILE_PIXELS, max_pixels
from edgecam.sources.picture_size import stated_size
from edgecam.sources.stream_size import check_capture
from edgecam.sources.supervised import StreamError

LIVE_PIXELS = max_pixels(SourceSettings(), live=True)
SHARED = Path(__file__).parents[3] / "shared"

# Group 4: a line that is as the one before takes a bit.
FAX = (259, 3, 4)


def refusal(data: bytes, most: int = FILE_PIXELS) -> str:
    with pytest.raises(SourceError) as caught:
        decode_image(data, most)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noise(width: int = 53, height: int = 37) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def decoded_size(data: bytes) -> tuple[int, int] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else (image.shape[1], image.shape[0])


@pytest.mark.parametrize(
    "ending",
    [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm", ".pgm", ".pbm"],
)
def test_stated_size_is_what_opencv_wrote(ending: str) -> None:
    grey = ending in (".pgm", ".pbm")
    data = cv2.imencode(ending, noise()[..., 0] if grey else noise())[1].tobytes()
    assert stated_size(data) == (53, 37)
    assert decode_image(data).shape == (37, 53, 3)


@pytest.mark.parametrize(
    "parameters",
    [
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    ],
)
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_flattest_pictures_of_every_coding_are_decoded(
    parameters: tuple[int, ...], colour: int
) -> None:
    flat = np.full((601, 1003, 3), colour, np.uint8)
    data = cv2.imencode(".jpg", flat, (*parameters, cv2.IMWRITE_JPEG_QUALITY, 1))[1].tobytes()
    assert decode_image(data).shape == flat.shape


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize(
    ("ending", "parameters"),
    [
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 1)),
        *((".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, number)) for number in (1, 5, 8, 32773)),
    ],
)
def test_flattest_webp_and_tiff_are_decoded(
    ending: str, parameters: tuple[int, ...], colour: int
) -> None:
    flat = np.full((601, 1003, 3), colour, np.uint8)
    assert decode_image(cv2.imencode(ending, flat, parameters)[1].tobytes()).shape == flat.shape


@pytest.mark.parametrize("quality", [1, 101])
def test_flat_webp_with_metadata_before_its_picture_is_decoded(quality: int) -> None:
    flat = np.full((601, 1003, 3), 77, np.uint8)
    plain = cv2.imencode(".webp", flat, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].tobytes()
    profile = b"RIFF....WEBPICCP" + struct.pack("<I", 3) + b"abc\0" + plain[12:]
    assert decode_image(bombs.extended_webp(1003, 601, profile, flags=0x20)).shape == flat.shape


def test_a_few_bytes_may_rightly_be_a_large_picture_in_lossless_webp_and_arithmetic_jpeg() -> None:
    """No bound of bytes is possible: a pixel may take no bit, and missing bytes are zeros."""
    flat = np.full((3000, 3000, 3), 77, np.uint8)
    data = cv2.imencode(".webp", flat, (cv2.IMWRITE_WEBP_QUALITY, 101))[1].tobytes()
    assert len(data) < 500
    assert np.array_equal(decode_image(data), flat)
    empty = bombs.QUANTISATION + bombs.frame_header(1003, 601, 0xC9) + bombs.scan_header()
    assert decode_image(bombs.START + empty + bombs.END).shape == (601, 1003, 3)


def test_jpeg_of_two_bits_a_block_is_decoded_and_of_less_than_one_refused() -> None:
    assert decode_image(bombs.jpeg(1600, 800)).shape == (800, 1600, 3)
    blocks = 200 * 100
    just = bombs.jpeg(1600, 800, bytes(blocks // 8))
    assert stated_size(just) == (1600, 800)
    fewer = bombs.jpeg(1600, 800, bytes(blocks // 8 - 1))
    assert "1600x800 pixels and has 2499 bytes" in refusal(fewer)


@pytest.mark.parametrize("side", [10_000, 65_535])
def test_jpeg_of_144_bytes_is_refused_before_it_is_decoded(side: int) -> None:
    data = bombs.jpeg(side, side, bytes(4))
    assert len(data) == 144
    assert "144" not in refusal(data, 10**10)
    assert "bytes for them; it is damaged" in refusal(data, 10**10)


def test_marker_without_a_length_hides_no_frame_header() -> None:
    assert stated_size(bombs.jpeg(1600, 800, before=b"\xff\x01\xff\xd3")) == (1600, 800)
    message = refusal(bombs.hidden(16_000, 8000))
    assert "16000x8000" in message


@pytest.mark.parametrize("before", [b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xd7"])
def test_what_libjpeg_steps_over_is_stepped_over(before: bytes) -> None:
    data = bombs.jpeg(16, 24, before=before + bombs.segment(0xFE, b"x"))
    assert stated_size(data) == (16, 24)
    assert decode_image(data).shape == (24, 16, 3)


def test_thumbnail_in_a_segment_is_none_of_the_picture() -> None:
    inner = bombs.jpeg(60_000, 60_000, bytes(4))
    data = bombs.jpeg(16, 24, before=bombs.segment(0xE1, b"Exif\0\0" + inner))
    assert stated_size(data) == (16, 24)


@pytest.mark.parametrize(
    "before",
    [
        b"abc",
        b"\xff\x00",
        bombs.START,
        bombs.END,
        b"\xff\xfe\0\1",
        b"\xff\xfe\0\0",
        bombs.segment(0x02, b"\0"),
        bombs.segment(0xDF, b"\0"),
        bombs.segment(0xC8, b"\0"),
        bombs.frame_header(8, 8),
        bombs.frame_header(8, 8, 0xC2),
        bombs.scan_header(),
        bombs.segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11\0x"),
        bombs.segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x50\0"),
        bombs.segment(0xC0, struct.pack(">BHHB", 8, 0, 16, 1) + b"\1\x11\0"),
        bombs.segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 0)),
        bombs.frame_header(8, 8, 0xC5),
        bombs.frame_header(8, 8, 0xCB),
    ],
)
def test_jpeg_that_libjpeg_would_guess_about_is_refused(before: bytes) -> None:
    assert "JPEG" in refusal(bombs.jpeg(16, 16, before=before))


@pytest.mark.parametrize("cut", range(2, 171))
def test_jpeg_cut_anywhere_is_refused(cut: int) -> None:
    whole = bombs.jpeg(88, 88)
    assert stated_size(whole) == (88, 88)
    assert len(whole) == 171
    if cut < len(whole):
        refusal(whole[:cut])


def test_scans_are_bounded_in_number() -> None:
    once = bombs.scan_header(spectrum=(1, 63, 0)) + b"\x80"
    header = bombs.QUANTISATION + bombs.frame_header(8, 8, 0xC2) + bombs.CODES
    first = bombs.scan_header(spectrum=(0, 0, 0)) + b"\0"
    most = bombs.START + header + first + once * (MAX_SCANS - 1) + bombs.END
    assert stated_size(most) == (8, 8)
    more = bombs.START + header + first + once * MAX_SCANS + bombs.END
    assert "more than 100 scans" in refusal(more)


@pytest.mark.parametrize(
    "data",
    [
        bombs.jpeg(6000, 6000),
        bombs.png(6000, 6000),
        bombs.extended_webp(6000, 6000),
        bombs.extended_webp(6000, 6000, bombs.lossy_webp(6000, 6000)) + bytes(36_000),
        bombs.extended_webp(6000, 6000, bombs.lossy_webp(8, 8), flags=2),
        bombs.lossless_webp(6000, 6000),
        bombs.lossy_webp(6000, 6000) + bytes(36_000),
        bombs.gif(6000, 6000) + bytes(9000),
        bombs.bmp(6000, 6000),
        bombs.bmp(6000, -6000),
        bombs.tiff([(256, 3, 6000), (257, 4, 6000), FAX]) + bytes(750),
        bombs.tiff([(256, 3, 6000), (257, 4, 6000), FAX], ">") + bytes(750),
        bombs.tiff([(256, 16, 6000), (257, 3, 6000), FAX], big=True) + bytes(750),
        bombs.tiff([(256, 4, 6000), (257, 16, 6000), FAX], ">", big=True) + bytes(750),
        bombs.tiff([(256, 3, 16), (257, 3, 16), (322, 4, 6000), (323, 4, 6000)]),
        bombs.tiff([(400, 3, 1), (257, 3, 6000), (256, 3, 6000), FAX]) + bytes(750),
        b"P4 6000 6000\n" + bytes(4_500_000),
    ],
)
def test_pixels_are_bounded_for_every_format(data: bytes) -> None:
    assert stated_size(data) == (6000, 6000)
    message = refusal(data, LIVE_PIXELS)
    assert message.startswith("6000x6000 is more than 25 million pixels; ")
    assert "source.max_megapixels" in message


@pytest.mark.parametrize(
    "data",
    [
        bombs.png(6000, 6000, bytes(2_000_000)),
        bombs.png(0x7FFFFFFF, 0x7FFFFFFF, b""),
        bombs.bmp(5000, 5000, 0, 24),
        b"P6\n5000 5000\n255\n" + bytes(1000),
        b"P2\n5000 5000\n255\n" + b"1 " * 500,
        b"P4\n5000 5000\n" + bytes(1000),
        bombs.lossy_webp(6000, 6000) + bytes(34_000),
        bombs.extended_webp(6000, 6000, bombs.lossy_webp(6000, 6000)) + bytes(34_000),
        bombs.tiff([(256, 3, 6000), (257, 3, 6000)]) + bytes(4_400_000),
        bombs.tiff([(256, 3, 60_000), (257, 3, 60_000), (259, 3, 5)]) + bytes(100_000),
        bombs.tiff([(256, 3, 6000), (257, 3, 6000), (259, 3, 8)]) + bytes(4000),
        bombs.tiff([(256, 3, 6000), (257, 3, 6000), (259, 3, 32946)]) + bytes(4000),
        bombs.tiff([(256, 3, 6000), (257, 3, 6000), (259, 3, 32773)]) + bytes(70_000),
        bombs.tiff([(256, 3, 6000), (257, 3, 6000), (259, 3, 7)]) + bytes(17_000),
        bombs.tiff([(256, 3, 60_000), (257, 3, 60_000), (259, 3, 50000)]) + bytes(13_000),
        bombs.tiff([(256, 3, 1000), (257, 3, 6000), FAX]) + bytes(700),
        bombs.gif(6000, 6000) + bytes(8700),
    ],
)
def test_too_few_bytes_for_the_pixels_are_refused(data: bytes) -> None:
    message = refusal(data)
    assert "cut short" in message or "bytes can hold" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"\xff\xd8\xff",
        b"\x89PNG",
        b"RIFF",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0+",
        b"P6",
        b"P5 10#99\n20 255\n" + bytes(2000),
        bombs.gif(0, 9),
        bombs.bmp(-9, 9),
        bombs.webp(b"ICCP", bytes(30)),
        bombs.webp(b"VP8X", bytes(10)),
        bombs.extended_webp(6000, 6000, bombs.lossy_webp(9, 9)),
        bombs.extended_webp(9, 9, bombs.lossless_webp(6000, 6000)),
        bombs.tiff([(256, 3, 16)]),
        bombs.tiff([(256, 3, 16), (257, 3, 16), (256, 3, 16)]),
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(99),
        b"#?RADIANCE\n\n-Y 9 +X 9\n" + bytes(999),
        b"PF\n9 9\n-1.0\n" + bytes(999),
    ],
)
def test_what_states_no_size_that_can_be_trusted_is_refused(data: bytes) -> None:
    refusal(data)


def test_tiff_whose_packing_has_no_bound_is_refused() -> None:
    message = refusal(bombs.tiff([(256, 3, 6), (257, 3, 6), (259, 3, 50002)]))
    assert message.startswith("a TIFF of compression 50002, which is not decoded; ")


@pytest.mark.parametrize("packing", [1, 5, 7, 8, 32773, 32946, 34676, 34677])
def test_flattest_tiff_of_every_packing_that_opencv_writes_is_taken(packing: int) -> None:
    grey, of_floats = ((1003, 1601), np.uint8), ((1003, 1601, 3), np.float32)
    flat = np.zeros(*(of_floats if packing in (34676, 34677) else grey))
    try:
        written, data = cv2.imencode(".tiff", flat, (cv2.IMWRITE_TIFF_COMPRESSION, packing))
    except cv2.error:  # OpenCV 4.8
        written = False
    if not written:
        pytest.skip("this OpenCV has no such packing")
    assert stated_size(data.tobytes()) == (1601, 1003)


@pytest.mark.parametrize("order", ["<", ">"])
def test_place_beyond_any_file_in_a_tiff_is_refused(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    data = mark + struct.pack(order + "HHHQ", 43, 8, 0, 0xFFFFFFFFFFFFFFF0) + bytes(100)
    assert refusal(data) == "the picture is cut short"


def test_frame_of_an_animated_png_outside_its_picture_is_refused() -> None:
    control = bombs.chunk(b"acTL", struct.pack(">II", 2, 0))
    inside = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)
    outside = struct.pack(">IIIIIHHBB", 0, 8, 8, 0x7FFFFFFF, 0, 1, 1, 0, 0)
    good = bombs.png(8, 8, between=control + bombs.chunk(b"fcTL", inside))
    assert stated_size(good) == (8, 8)
    bad = bombs.png(8, 8, between=control + bombs.chunk(b"fcTL", outside))
    assert "outside its picture" in refusal(bad)


def test_png_whose_chunks_do_not_join_is_refused() -> None:
    """OpenCV 5.0 searches without end in one."""
    whole = bytearray(bombs.png(53, 37))
    whole[33:37] = b"\xa7\xc2\x2b\x49"
    assert "cut short" in refusal(bytes(whole))


def changed(data: bytes, chance: random.Random) -> bytes:
    """Bytes of the header changed, left out, doubled or put elsewhere."""
    out = bytearray(data)
    reach = 40 if data.startswith(b"\x89PNG") else 700
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(2, min(len(out), reach))
        kind = chance.randrange(4)
        if kind == 0:
            out[at] = chance.choice((0, 1, 8, 0xC0, 0xC2, 0xD0, 0xD8, 0xDA, 0xFE, 0xFF))
        elif kind == 1:
            out[at] = chance.randrange(256)
        elif kind == 2:
            del out[at : at + chance.randint(1, 20)]
        else:
            start = chance.randrange(2, min(len(out), reach))
            out[at:at] = out[start : start + chance.randint(1, 40)]
    if out.startswith(b"\x89PNG"):  # else every change ends at the first sum
        out[29:33] = struct.pack(">I", zlib.crc32(out[12:29]))
    return bytes(out)


@pytest.mark.parametrize("ending", [".jpg", ".p.jpg", ".png", ".bmp", ".webp", ".tiff", ".pgm"])
def test_whatever_passes_is_decoded_at_the_size_stated(ending: str) -> None:
    """The decoder is the judge: it may refuse, and may see no other size."""
    flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1) if ending == ".p.jpg" else ()
    image = noise()[..., 0] if ending == ".pgm" else noise()
    whole = cv2.imencode("." + ending.rsplit(".")[-1], image, flags)[1].tobytes()
    chance = random.Random(ending)
    decoded = 0
    for _ in range(1500):
        data = changed(whole, chance)
        try:
            width, height = stated_size(data)
        except SourceError:
            continue
        if width * height > 1_000_000:
            continue
        found = decoded_size(data)
        if found is not None:
            decoded += 1
            assert found == (width, height), data.hex()
    assert decoded > 20


def test_refused_pictures_take_no_memory() -> None:
    """Peak of a process that is given each of them; what is decoded takes 300 MB and more."""
    script = """
import re, sys, bombs
from pathlib import Path
from edgecam.core.errors import SourceError
from edgecam.sources.picture import decode_image

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

decode_image(bombs.jpeg(64, 64))
before = peak_kb()
for data in (
    bombs.jpeg(10_000, 10_000, bytes(4)),
    bombs.hidden(16_000, 8000),
    bombs.png(12_000, 12_000, bytes(2_000_000)),
    bombs.lossless_webp(16_384, 16_384),
    bombs.gif(65_535, 65_535),
    bombs.bmp(30_000, -30_000),
    bombs.tiff([(256, 4, 30_000), (257, 4, 30_000)]),
):
    try:
        decode_image(data)
    except SourceError:
        continue
    sys.exit("decoded")
print(peak_kb() - before)
"""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000


def test_a_stream_of_larger_pictures_is_released_when_it_opens() -> None:
    capture = cv2.VideoCapture(str(catalog.clip()))
    width, height = (capture.get(side) for side in (3, 4))
    check_capture(capture, round(width * height))
    assert capture.isOpened()
    with pytest.raises(StreamError, match=r"source\.max_megapixels") as caught:
        check_capture(capture, round(width * height) - 1)
    assert caught.value.kind == "too_large"
    assert not capture.isOpened()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared pictures are not here")
def test_no_real_picture_is_refused() -> None:
    files = [path for end in ("jpg", "png", "webp") for path in SHARED.rglob(f"*.{end}")]
    bad = {"j100.jpg", "jhid_small.jpg", "p_small.png"}
    assert len(files) > 100
    for path in files:
        if path.name not in bad:
            stated_size(path.read_bytes())
