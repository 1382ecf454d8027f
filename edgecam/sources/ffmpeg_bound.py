"""A bound on the pixels of everything that FFmpeg decodes, kept by FFmpeg itself.

Its decoders have one (``max_pixels``), which they keep before they take memory for a picture,
whatever a container or a stream stated before. OpenCV has no way to set it: what stands in
``OPENCV_FFMPEG_CAPTURE_OPTIONS`` is for the container, and not for the decoder. The public
``av_max_alloc`` bounds each allocation by its bytes; it would have to let through the three bytes a
pixel of OpenCV's own picture, and with them a decoder's pictures of three times as many pixels,
one for each thread. So the option's default is written where FFmpeg keeps it: in the table that the
public ``av_opt_find`` looks options up in.
"""

from __future__ import annotations

import ctypes
import mmap
import re

_LIBRARY = re.compile(r"/\S*/lib(avcodec|avutil)[-.][^/\s]*$")
_FAKE_OBJECT = 2  # AV_OPT_SEARCH_FAKE_OBJ: the class alone, without a context
_INTEGERS = (2, 3)  # AV_OPT_TYPE_INT64, before FFmpeg 7.1 and since
_LARGEST = 2**31 - 1
_PAGE = mmap.PAGESIZE
# FFmpeg counts rows that are padded to 64 pixels, of which there are 65,536 at most. Callers look
# at the size itself once it is open.
_PADDING = 64 << 16


class _Option(ctypes.Structure):
    """AVOption of FFmpeg 4 to 8."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("help", ctypes.c_char_p),
        ("offset", ctypes.c_int),
        ("type", ctypes.c_int),
        ("default", ctypes.c_int64),
        ("least", ctypes.c_double),
        ("most", ctypes.c_double),
        ("flags", ctypes.c_int),
        ("unit", ctypes.c_char_p),
    )


def bound_pixels(most: int) -> bool:
    """Have FFmpeg refuse pictures of more than ``most`` pixels in what it opens from now on.

    Those of 4 million pixels more may pass. It holds for the whole process, and for what is
    written. False where there is no FFmpeg of a known kind: one within OpenCV's own library, or
    with other options.
    """
    codecs, utils = _loaded("avcodec"), _loaded("avutil")
    if not codecs or not utils:
        return False
    most = min(most + _PADDING, _LARGEST)
    # More than one where picamera2 has loaded the system's beside OpenCV's own.
    bounded = [_bounded(_option(codec, utils[0]), most) for codec in codecs]
    return all(bounded)


def _bounded(option: _Option | None, most: int) -> bool:
    return option is not None and (option.default == most or _write(option, most))


def _option(codec_path: str, util_path: str) -> _Option | None:
    try:
        codec, util = ctypes.CDLL(codec_path), ctypes.CDLL(util_path)
        codec.avcodec_get_class.restype = ctypes.c_void_p
        util.av_opt_find.restype = ctypes.POINTER(_Option)
        util.av_opt_find.argtypes = (
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p),
            *(ctypes.c_int, ctypes.c_int),
        )
        kind = ctypes.c_void_p(codec.avcodec_get_class())
        found = util.av_opt_find(ctypes.byref(kind), b"max_pixels", None, 0, _FAKE_OBJECT)
    except (OSError, AttributeError):
        return None
    option: _Option | None = found.contents if found else None
    if option is None or option.name != b"max_pixels" or option.type not in _INTEGERS:
        return None
    # As it is known: an integer that is itself within its own limits.
    return option if option.most == _LARGEST and 0 < option.default <= _LARGEST else None


def _loaded(name: str) -> list[str]:
    """The files of all loaded libraries of this name."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
            found = [_LIBRARY.search(line.rstrip("\n")) for line in file]
    except OSError:
        return []
    return list({match[0]: None for match in found if match is not None and match[1] == name})


def _write(option: _Option, most: int) -> bool:
    """Write into a table that is mostly read-only since its library was loaded."""
    begin = ctypes.addressof(option) // _PAGE * _PAGE
    end = ctypes.addressof(option) + ctypes.sizeof(option)
    is_writable = _is_writable(begin, end)
    if is_writable is None:
        return False
    if is_writable:
        option.default = most
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    place = ctypes.c_void_p(begin), ctypes.c_size_t(end - begin)
    if libc.mprotect(*place, mmap.PROT_READ | mmap.PROT_WRITE):
        return False
    option.default = most
    libc.mprotect(*place, mmap.PROT_READ)
    return True


def _is_writable(begin: int, end: int) -> bool | None:
    """Whether the memory may be written already; None where a part of it is of another kind."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            span, rights, *_ = line.split(maxsplit=2)
            first, last = (int(place, 16) for place in span.split("-"))
            if first <= begin and end <= last:
                return {"r--p": False, "rw-p": True}.get(rights)
    return None
