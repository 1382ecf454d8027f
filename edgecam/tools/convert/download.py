"""One file over HTTP: resumed where it broke off, tried again, whole or not there at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgecam.core.bounded_file import MODEL_BYTES
from edgecam.tools.convert.graph import ConvertError

TRIES = 5
TIMEOUT_S = 20.0
_BLOCK_BYTES = 1 << 16
_BACKOFF_S = 1.0
_PARTIAL, _UNSATISFIABLE = 206, 416

# Bytes that are there, and all of them if the server says so.
Progress = Callable[[int, int | None], None]


class _BrokenOffError(Exception):
    """The connection ended before the last byte."""


def fetch(
    url: str,
    target: Path,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    max_bytes: int = MODEL_BYTES,
) -> str:
    """Download ``url`` to ``target`` and return its SHA-256.

    What arrived of an earlier try lies beside it as ``.part`` and is gone on with, if the server
    still has the same file. ``sleep`` waits between tries.

    Raises:
        ConvertError: the server refuses, does not say where the file ends, or has more than
            ``max_bytes``; or every try failed.
    """
    if not url.startswith(("http://", "https://")):
        raise ConvertError(f"{url}: expected a http:// or https:// address")
    part = target.with_name(f"{target.name}.part")
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            sleep(_BACKOFF_S * 2 ** (attempt - 1))
        try:
            _continue(url, part, progress, max_bytes)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise ConvertError(f"{url}: the server answers {error.code} {error.reason}") from (
                    None
                )
            reason = f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException, _BrokenOffError) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        else:
            with part.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.replace(part, target)
            _tag_of(part).unlink(missing_ok=True)
            return digest
    raise ConvertError(
        f"{url}: not downloaded in {TRIES} tries ({reason}); what came is kept, try again later"
    )


def _tag_of(part: Path) -> Path:
    """Where it is noted which version of the file a part belongs to."""
    return part.with_name(f"{part.name}.version")


def _continue(url: str, part: Path, progress: Progress, max_bytes: int) -> None:
    tag = _tag_of(part)
    have = part.stat().st_size if part.exists() and tag.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "edgecam"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text("utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != _UNSATISFIABLE:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return
        tag.unlink(missing_ok=True)
        raise _BrokenOffError("the server has a shorter file now") from None
    with response:
        resumed = response.status == _PARTIAL and have > 0
        start = have if resumed else 0
        if response.length is None and not response.chunked:
            raise ConvertError(
                f"{url}: the server does not say how long its answer is, so that it is "
                "unknown whether all of it came; try again later, or from another network"
            )
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        # Without a strong mark it is unknown whether the rest belongs to what is there.
        if version and not version.startswith("W/"):
            tag.write_text(version, "utf-8")
        else:
            tag.unlink(missing_ok=True)
        total = start + response.length if response.length is not None else None
        with part.open("ab" if resumed else "wb") as stream:
            done = _copy(response, stream, start, total, progress, max_bytes)
    if done > max_bytes:
        part.unlink()
        raise ConvertError(f"{url}: expected at most {max_bytes} bytes, found more")
    if total is not None and done < total:
        raise _BrokenOffError(f"broken off at {done} of {total} bytes")


def _copy(
    response: http.client.HTTPResponse,
    stream: IO[bytes],
    done: int,
    total: int | None,
    progress: Progress,
    max_bytes: int,
) -> int:
    progress(done, total)
    while done <= max_bytes and (block := response.read1(_BLOCK_BYTES)):
        stream.write(block)
        done += len(block)
        progress(done, total)
    return done
