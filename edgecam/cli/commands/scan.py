"""``edgecam scan``: the page before the camera, or in a picture, as a flat picture or PDF."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecam.cli.option_types import Number, OutputFile
from edgecam.core.errors import EdgecamError, ModelError, SourceError
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.core.frame import Frame
    from edgecam.core.protocols import Source
    from edgecam.core.result import Document
    from edgecam.inference.model import Model

# A page that a hand still moves is not scanned: so many frames in a row must agree so well.
_STEADY_FRAMES = 3
_STEADY_OVERLAP = 0.97


@click.command("scan")
@click.argument("source")
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFile(".png", ".jpg", ".jpeg", ".pdf"),
    help=".png, .jpg or .pdf.",
)
@click.option("-m", "--model", default="documents", show_default=True, help="File or bundled name.")
@click.option("--ratio", help="WIDTH:HEIGHT of the page, such as 210:297.  [default: estimated]")
@click.option("--score-threshold", type=Number(0, 1), default=0.5, show_default=True, help="0..1.")
@click.option(
    "--wait-s",
    type=Number(0.0, 86400.0),
    default=30.0,
    show_default=True,
    help="How long a camera may take to see a page that lies still.",
)
@click.option("--threads", type=click.IntRange(1, 64), help="Inference threads.")
def command(
    source: str,
    output: Path,
    model: str,
    ratio: str | None,
    score_threshold: float,
    wait_s: float,
    threads: int | None,
) -> None:
    """Find the page in SOURCE, a picture, a clip or a camera, and write it flat to --output.

    Of a camera or a clip the first page that lies still is taken. The page's shape is estimated
    from its perspective. Nothing is written where no page is found.

    \b
    edgecam scan receipt.jpg -o receipt.png
    edgecam scan 0 -o letter.pdf --ratio 210:297
    """
    from edgecam.core import atomic_file as whole_file
    from edgecam.tools.scan_page import aspect_ratio, encoded, flattened

    suffix = output.suffix.lower()
    whole_file.check_other(output, source)
    shape = _ratio(ratio)
    frame, page = _find(source, model, score_threshold, wait_s, threads)
    if shape is None:
        shape = aspect_ratio(page.corners, frame.width_px, frame.height_px)
    flat = flattened(frame.image, page.corners, shape)
    whole_file.write(output, encoded(flat, suffix))
    height, width = flat.shape[:2]
    say(f"{output}: {width}x{height}, width : height {shape:.3f}, score {page.score:.2f}", err=True)
    if page.runner_up is not None:
        say(
            f"another page is nearly as likely: written is {_corners(page)}, the other is "
            f"{_corners(page.runner_up)}",
            err=True,
        )


def _corners(page: Document) -> str:
    """Return "0.64 at 12,34 56,78 ...": its score and its corners in pixels."""
    points = " ".join(f"{round(x)},{round(y)}" for x, y in page.corners.tolist())
    return f"{page.score:.2f} at {points}"


def _ratio(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        width, height = map(float, text.split(":"))
    except ValueError:
        width = height = 0.0
    if not (width > 0 and height > 0 and 0.05 <= width / height <= 20.0):
        raise click.BadParameter(f"{text!r}: expected WIDTH:HEIGHT, as in 210:297")
    return width / height


def _find(
    source: str, model: str, score_threshold: float, wait_s: float, threads: int | None
) -> tuple[Frame, Document]:
    from edgecam.inference.model import Model
    from edgecam.settings.schema import InferenceSettings, ModelSettings, SourceSettings
    from edgecam.sources import open_source

    network = Model(ModelSettings(path=model), InferenceSettings(threads=threads))
    if network.decoder.finds != "documents":
        raise ModelError(
            f"{model} is of the family {network.decoder.family}; scan needs one that finds "
            "document edges, such as the bundled model documents"
        )
    opened = open_source(SourceSettings(url=source))
    try:
        found, best = _first_page(opened, network, score_threshold, wait_s)
    finally:
        opened.close()
    if found is None:
        # Rounded down, for a threshold of it to take it.
        nearest = f"; the best guess has {math.floor(best * 100) / 100:.2f}" if best > 0.0 else ""
        raise EdgecamError(
            f"no page found in {source} (score {score_threshold} or more{nearest}); show all four "
            "sides, with the page apart from what lies under it, or lower --score-threshold"
        )
    return found


def _first_page(
    source: Source, model: Model, score_threshold: float, wait_s: float
) -> tuple[tuple[Frame, Document] | None, float]:
    """The page that lies still, and the best score that was seen.

    Raises:
        SourceError: a camera showed no picture in all the time.
    """
    from edgecam.core.protocols import DecodeOptions
    from edgecam.core.quadrilateral import overlap

    options, buffer = DecodeOptions(score_threshold=0.0), model.buffer()
    deadline_s = time.monotonic() + wait_s if source.live else float("inf")
    last: tuple[Frame, Document] | None = None
    still, best = 0, 0.0

    def idle() -> None:
        if time.monotonic() > deadline_s:
            raise SourceError(f"{source.description}: no picture for {wait_s:g} s")

    for frame in source.frames(idle):
        staged = model.preprocess(frame, buffer)
        pages = model.decode(model.invoke(staged), staged, frame, options).documents
        score = pages[0].score if pages else 0.0
        best = max(best, score)
        now = (frame, pages[0]) if pages and score >= score_threshold else None
        if now is not None and frame.file is not None:
            return now, best
        same = (
            last is not None
            and now is not None
            and overlap(last[1].corners, now[1].corners) >= _STEADY_OVERLAP
        )
        still, last = still + 1 if same else 1, now
        if last is not None and still >= _STEADY_FRAMES:
            return last, best
        if time.monotonic() > deadline_s:
            break
    return None, best
