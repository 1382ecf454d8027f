"""``edgecam scan``: the page of a picture or clip, flat, in its own shape; or one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecam.cli.main import cli
from edgecam.core.quadrilateral import clockwise
from edgecam.tools.scan_page import aspect_ratio, encoded, flattened
from edgecam.tools.train.documents.scene import render
from tests.servers import Server

PHOTOGRAPHS = Path(__file__).parents[1] / "data" / "documents"


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["scan", *map(str, arguments)])


def photographed(ratio: float, lean: float, turn: float, focal: float) -> np.ndarray:
    """The corners of a page in a picture of 640x480, by the pinhole camera's own equations."""
    half = np.array(((-ratio, -1.0), (ratio, -1.0), (ratio, 1.0), (-ratio, 1.0))) / 2
    spin = cv2.Rodrigues(np.array((0.0, 0.0, turn)))[0]
    tilt = cv2.Rodrigues(np.array((lean, 0.4 * lean, 0.0)))[0]
    space = np.column_stack((half, np.zeros(4))) @ (tilt @ spin).T + (0.1, -0.05, 3.0)
    return clockwise(space[:, :2] / space[:, 2:] * focal + (319.5, 239.5))


@pytest.mark.parametrize("ratio", [210 / 297, 8.5 / 11, 0.4, 1.0])
@pytest.mark.parametrize("lean", [0.0, 0.15, 0.5, 0.8])
@pytest.mark.parametrize("focal", [500.0, 800.0])
def test_the_shape_of_the_page_is_known_by_its_perspective(
    ratio: float, lean: float, focal: float
) -> None:
    found = aspect_ratio(photographed(ratio, lean, 0.2, focal), 640, 480)
    assert found == pytest.approx(ratio, rel=0.02)


def test_a_flat_page_is_what_was_printed() -> None:
    """A drawn page, seen at an angle, comes out as it was drawn."""
    page = np.full((420, 297, 3), 235, np.uint8)
    for row in range(40, 380, 30):
        cv2.line(page, (30, row), (260, row), (40, 40, 40), 6)
    cv2.circle(page, (240, 60), 25, (30, 30, 200), -1)
    corners = photographed(297 / 420, 0.4, 0.1, 700.0)
    box = np.array(((0, 0), (297, 0), (297, 420), (0, 420)), np.float32) - np.float32(0.5)
    view = cv2.getPerspectiveTransform(box, corners.astype(np.float32))
    image = cv2.warpPerspective(page, view, (640, 480))
    flat = flattened(image, corners)
    assert flat.shape[1] / flat.shape[0] == pytest.approx(297 / 420, rel=0.02)
    same = cv2.resize(page, flat.shape[1::-1], interpolation=cv2.INTER_AREA)
    # Blurred: the page was seen at about half its size.
    difference = cv2.blur(flat, (9, 9)).astype(float) - cv2.blur(same, (9, 9))
    assert np.abs(difference)[8:-8, 8:-8].mean() < 6.0


def test_a_photograph_becomes_a_page(tmp_path: Path) -> None:
    done = scan(PHOTOGRAPHS / "printout.jpg", "-o", tmp_path / "page.png")
    assert done.exit_code == 0, done.output
    page = cv2.imread(str(tmp_path / "page.png"))
    # It is a sheet of A4 or of letter, about.
    assert page.shape[1] / page.shape[0] == pytest.approx(0.72, abs=0.06)
    # Paper to the very edge, and the heading where it stands.
    assert page[3:-3, 3:-3].min(axis=2)[:, :10].mean() > 140
    height = page.shape[0]
    assert page[int(0.08 * height) : int(0.14 * height)].min() < 110
    assert list(tmp_path.iterdir()) == [tmp_path / "page.png"]


def test_a_given_ratio_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "page.jpg"
    done = scan(PHOTOGRAPHS / "contract.jpg", "-o", output, "--ratio", "210:297")
    assert done.exit_code == 0, done.output
    page = cv2.imread(str(output))
    assert page.shape[1] / page.shape[0] == pytest.approx(210 / 297, abs=0.005)


def test_a_pdf_holds_the_picture_and_says_where_its_objects_are() -> None:
    page = np.full((90, 60, 3), 200, np.uint8)
    data = encoded(page, ".pdf")
    assert data.startswith(b"%PDF-1.4\n")
    assert data.endswith(b"%%EOF\n")
    table = int(data.rsplit(b"startxref\n", 1)[1].split()[0])
    assert data[table:].startswith(b"xref\n0 6\n")
    places = [int(line[:10]) for line in data[table:].split(b"\n")[3:8]]
    for number, place in enumerate(places, 1):
        assert data[place:].startswith(b"%d 0 obj" % number)
    jpeg = data[data.index(b"\xff\xd8") : data.index(b"\nendstream", data.index(b"\xff\xd8"))]
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(decoded, page, atol=3)


def test_no_page_is_one_line_and_no_file(tmp_path: Path) -> None:
    picture = tmp_path / "table.png"
    cv2.imwrite(str(picture), render(11, 320, 240, empty=True).image)
    done = scan(picture, "-o", tmp_path / "page.png")
    assert done.exit_code == 1
    assert "no page found" in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == [picture]


def test_a_page_that_is_doubtful_is_said_and_found_where_less_will_do(tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    cv2.imwrite(str(picture), render(3_000_000, 640, 480).image)
    done = scan(picture, "-o", tmp_path / "flat.png")
    assert done.exit_code == 1
    guess = re.search(r"the best guess has (0\.\d\d)\)", done.output)
    assert guess is not None
    done = scan(picture, "-o", tmp_path / "flat.png", "--score-threshold", guess[1])
    assert done.exit_code == 0, done.output


def test_a_camera_is_not_waited_for_longer_than_was_asked(tmp_path: Path) -> None:
    with Server("mjpeg.py") as camera:
        camera.tell("good")
        url = f"http://127.0.0.1:{camera.port}/stream"
        done = scan(url, "-o", tmp_path / "page.png", "--wait-s", 3)
        assert done.exit_code == 1
        assert "no page found" in done.output
        camera.tell("stall")
        done = scan(url, "-o", tmp_path / "page.png", "--wait-s", 0.5)
        assert done.exit_code == 1
        assert "no picture for 0.5 s" in done.output
    assert not list(tmp_path.iterdir())


def test_of_a_clip_the_first_page_that_lies_still_is_taken(tmp_path: Path) -> None:
    photograph = cv2.imread(str(PHOTOGRAPHS / "notepad.jpg"))
    clip = tmp_path / "clip.avi"
    size = photograph.shape[1::-1]
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, size)
    for frame in range(8):
        shift = np.float32(((1, 0, 40.0 * max(0, 4 - frame)), (0, 1, 0)))
        writer.write(cv2.warpAffine(photograph, shift, size))
    writer.release()
    done = scan(clip, "-o", tmp_path / "page.png")
    assert done.exit_code == 0, done.output
    alone = scan(PHOTOGRAPHS / "notepad.jpg", "-o", tmp_path / "alone.png")
    assert alone.exit_code == 0, alone.output
    shapes = [cv2.imread(str(tmp_path / name)).shape[:2] for name in ("page.png", "alone.png")]
    np.testing.assert_allclose(shapes[0], shapes[1], rtol=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "page.gif"], "expected a name that ends in"),
        (["-o", "page.png", "--ratio", "wide"], "expected WIDTH:HEIGHT"),
        (["-o", "nowhere/page.png"], "there is no folder"),
        (["-o", "page.png", "-m", "posenet"], "family posenet"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = scan(PHOTOGRAPHS / "letter.jpg", *arguments)
    assert done.exit_code in (1, 2)
    assert words in done.output
    assert not list(tmp_path.iterdir())


def test_the_photograph_itself_is_never_written_over(tmp_path: Path) -> None:
    picture = tmp_path / "letter.png"
    picture.write_bytes(b"the only one")
    done = scan(picture, "-o", picture)
    assert done.exit_code == 1
    assert "give --output a name of its own" in done.output
    assert picture.read_bytes() == b"the only one"


def test_a_picture_that_is_none_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    done = scan(broken, "-o", tmp_path / "page.png")
    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == [broken]
