"""The walk through a JPEG's segments: sizes, and why one is refused, without a decoder."""

from __future__ import annotations

import struct

import pytest
from bombs import CODES, END, QUANTISATION, START, frame_header, jpeg, scan_header, segment

from edgecam.core.errors import SourceError
from edgecam.sources.jpeg import MAX_SCANS, is_whole, jpeg_size

DAMAGED, CUT = "the JPEG is damaged", "the JPEG is cut short"
OTHER_KIND = "a JPEG of a kind that is not decoded; convert it to a baseline one"
GREY = frame_header(32, 16)
SCAN = scan_header() + bytes(2)


def frame(
    width: int, height: int, *factors: tuple[int, int], kind: int = 0xC0, stated: int | None = None
) -> bytes:
    """A frame header of components with these sampling factors."""
    each = b"".join(bytes((number, h << 4 | v, 0)) for number, (h, v) in enumerate(factors, 1))
    count = len(factors) if stated is None else stated
    return segment(kind, struct.pack(">BHHB", 8, height, width, count) + each)


def why(data: bytes) -> str:
    """Why a JPEG is refused; empty if it is not."""
    try:
        jpeg_size(data)
    except SourceError as error:
        assert not is_whole(data)
        return str(error)
    assert is_whole(data)
    return ""


def test_size_is_that_of_the_frame_header() -> None:
    assert jpeg_size(START + GREY + SCAN + END) == (32, 16)
    assert jpeg_size(START + frame_header(300, 7) + scan_header() + bytes(9) + END) == (300, 7)
    # What comes behind the end is not of the picture.
    assert jpeg_size(START + GREY + SCAN + END + b"more") == (32, 16)


@pytest.mark.parametrize("kind", [0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA])
def test_frame_of_a_kind_that_is_decoded_is_read(kind: int) -> None:
    assert jpeg_size(START + frame_header(32, 16, kind) + SCAN + END) == (32, 16)


@pytest.mark.parametrize("kind", [0xC5, 0xC6, 0xC7, 0xC8, 0xCB, 0xCD, 0xCE, 0xCF])
def test_frame_of_another_kind_is_named_as_such(kind: int) -> None:
    assert why(START + frame_header(32, 16, kind) + SCAN + END) == OTHER_KIND


@pytest.mark.parametrize(
    "table", [0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *(0xE0 + number for number in range(16))]
)
def test_table_is_stepped_over_by_its_length(table: int) -> None:
    for body in (b"", b"x", frame_header(9, 9), bytes(65533)):
        data = START + segment(table, body) + GREY + segment(table, body) + SCAN
        assert jpeg_size(data + segment(table, body) + END) == (32, 16)


@pytest.mark.parametrize("marker", [0x00, 0x02, 0xBF, 0xD8, 0xDE, 0xDF, 0xF0, 0xFD])
def test_marker_of_nothing_in_use_is_damage(marker: int) -> None:
    assert why(START + segment(marker, b"x") + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + segment(marker, b"x") + SCAN + END) == DAMAGED


@pytest.mark.parametrize("between", [b"\xff", b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0\xff\xd7"])
def test_fill_bytes_and_markers_without_a_length_are_stepped_over(between: bytes) -> None:
    data = START + between + GREY + between + SCAN + between + END
    # A restart marker belongs to the scan, and so do fill bytes before the end.
    assert jpeg_size(data) == (32, 16)


@pytest.mark.parametrize("between", [b"x", b"\0", b"\xfe\xff"])
def test_byte_between_segments_is_damage(between: bytes) -> None:
    assert why(START + between + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + between + SCAN + END) == DAMAGED


def test_end_or_scan_before_the_frame_and_a_second_frame_are_damage() -> None:
    # An end without a picture is read as a segment, whose length leads too far or to a good end.
    assert why(START + END + GREY + SCAN + END) == CUT
    assert why(START + segment(0xD9, b"") + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + segment(0xD9, b"") + SCAN + END) == DAMAGED
    assert why(START + SCAN + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + SCAN + GREY + END) == DAMAGED


@pytest.mark.parametrize("length", [0, 1])
def test_length_that_does_not_hold_itself_is_damage(length: int) -> None:
    comment = b"\xff\xfe" + struct.pack(">H", length)
    assert why(START + comment + GREY + SCAN + END) == DAMAGED
    assert why(START + GREY + comment) == DAMAGED
    assert why(START + GREY + comment[:-1]) == CUT
    assert why(START + GREY + comment[:-2]) == CUT


def test_length_that_leads_beyond_the_end_is_cut_short() -> None:
    comment = segment(0xFE, b"abc")
    assert why(START + GREY + comment) == CUT
    assert why(START + GREY + comment[:-1]) == CUT
    assert why(START + comment[:-3]) == CUT
    assert why(START) == CUT
    assert why(START + b"\xff") == CUT
    assert why(START + b"\xff\xff") == CUT
    assert why(START + GREY + scan_header()) == CUT
    assert why(START + GREY + SCAN) == CUT
    assert why(START + GREY + SCAN + b"\xff") == CUT
    assert why(START + GREY + SCAN + b"\xff\0") == CUT
    assert why(START + GREY + SCAN + b"\xff\xd3") == CUT


def test_scan_ends_at_a_marker_that_is_none_of_its_own() -> None:
    coded = b"\x12\xff\x00\xff\xd9"[:3] + b"\xff\xd0\x00\xff\xd7\x01\xff\x01\xff\xff\x00\x00"
    assert jpeg_size(START + GREY + scan_header() + coded + END) == (32, 16)
    # A table behind it, and another scan.
    again = START + GREY + SCAN + CODES + SCAN + QUANTISATION + SCAN + END
    assert jpeg_size(again) == (32, 16)


def test_scans_are_counted_one_by_one() -> None:
    most = START + GREY + SCAN * MAX_SCANS
    assert jpeg_size(most + END) == (32, 16)
    assert why(most + SCAN + END) == "the JPEG has more than 100 scans; save it again with fewer"
    # The walk ends there: what comes behind is not looked at.
    assert why(most + SCAN + b"\xff\xc4").startswith("the JPEG has more than 100 scans")


@pytest.mark.parametrize(
    "header",
    [
        frame(16, 0, (1, 1)),
        frame(0, 16, (1, 1)),
        frame(16, 16),
        frame(16, 16, (0, 1)),
        frame(16, 16, (1, 0)),
        frame(16, 16, (5, 1)),
        frame(16, 16, (1, 5)),
        frame(16, 16, (1, 1), (2, 1), (0, 1)),
        frame(16, 16, (1, 1), stated=2),
        frame(16, 16, (1, 1), (1, 1), stated=1),
        frame(16, 16, (1, 1), stated=0),
        segment(0xC0, struct.pack(">BHH", 8, 16, 16)),
        segment(0xC0, b""),
        segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11"),
        segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11\0x"),
    ],
)
def test_frame_header_that_cannot_be_is_damage(header: bytes) -> None:
    assert why(START + header + scan_header() + bytes(99) + END) == DAMAGED


@pytest.mark.parametrize(
    ("width", "height", "factors", "blocks"),
    [
        (8, 8, [(1, 1)], 1),
        (9, 8, [(1, 1)], 2),
        (8, 9, [(1, 1)], 2),
        (40, 24, [(1, 1)], 15),
        (65535, 1, [(1, 1)], 8192),
        (1, 65535, [(1, 1)], 8192),
        # One component alone is not subsampled against any other.
        (40, 24, [(2, 2)], 15),
        (40, 24, [(1, 1), (1, 1), (1, 1)], 45),
        # 4:2:0, 4:2:2 and its turned form: half of 40 are 20, that is 3 blocks.
        (40, 24, [(2, 2), (1, 1), (1, 1)], 15 + 2 * 3 * 2),
        (40, 24, [(2, 1), (1, 1), (1, 1)], 15 + 2 * 3 * 3),
        (40, 24, [(1, 2), (1, 1), (1, 1)], 15 + 2 * 5 * 2),
        (40, 24, [(4, 1), (1, 1), (2, 1)], 15 + 2 * 3 + 3 * 3),
        (33, 17, [(1, 1), (4, 4)], 2 * 1 + 5 * 3),
        (16, 16, [(1, 1), (1, 1), (1, 1), (1, 1)], 16),
    ],
)
def test_picture_takes_a_bit_for_each_block_of_each_component(
    width: int, height: int, factors: list[tuple[int, int]], blocks: int
) -> None:
    header = START + frame(width, height, *factors) + scan_header()
    least = -(-blocks // 8)
    assert jpeg_size(header + bytes(least) + END) == (width, height)
    assert why(header + bytes(least - 1) + END) == (
        f"the JPEG states {width}x{height} pixels and has {least - 1} bytes for them; it is damaged"
    )


@pytest.mark.parametrize("kind", [0xC0, 0xC1, 0xC2, 0xC3])
def test_huffman_codes_have_a_bound(kind: int) -> None:
    assert "has 0 bytes for them" in why(START + frame_header(8, 8, kind) + scan_header() + END)


@pytest.mark.parametrize("kind", [0xC9, 0xCA])
def test_arithmetic_codes_have_no_bound(kind: int) -> None:
    assert why(START + frame_header(9000, 9000, kind) + scan_header() + END) == ""


def test_bytes_of_a_picture_count_from_behind_its_first_scan_header() -> None:
    first = START + frame_header(8000, 8000) + CODES + scan_header()
    assert "has 0 bytes for them" in why(first + END)
    assert "has 7 bytes for them" in why(first + bytes(7) + END)
    more = bytes(7) + scan_header() + bytes(5)
    assert f"has {12 + len(scan_header())} bytes for them" in why(first + more + END)
    # Neither what stands before it nor what comes behind the end.
    assert "has 7 bytes" in why(first.replace(CODES, CODES * 3) + bytes(7) + END + bytes(99))


def test_whole_jpeg_cut_anywhere_is_none() -> None:
    whole = jpeg(88, 88)
    assert is_whole(whole)
    assert not any(is_whole(whole[:end]) for end in range(2, len(whole)))
