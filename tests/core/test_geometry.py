import numpy as np
import pytest

from edgecam.core.geometry import FITS, Fit, Rectangle, letterbox, stretch, tile, to_source
from edgecam.core.keypoints import Skeleton
from edgecam.core.opencv import cv2
from edgecam.core.result import Box, Classification, Decoded, Detection, Document, Pose

SIZES = [((768, 576), (481, 353)), ((1280, 720), (257, 257)), ((30, 90), (300, 300))]


@pytest.mark.parametrize("fit_name", sorted(FITS))
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_a_dot_found_in_the_input_lies_where_it_was_drawn(
    fit_name: str, source: tuple[int, int], target: tuple[int, int]
) -> None:
    """OpenCV's own resize says where a blob goes; the inverse must bring it back."""
    fit = FITS[fit_name](source, target)
    # Where the centre square is taken, what is beside it is seen nowhere.
    left, top = fit.source_left_px, fit.source_top_px
    width, height = round(fit.width_px / fit.scale_x), round(fit.height_px / fit.scale_y)
    x, y = left + width * 0.3, top + height * 0.7
    rows, columns = np.mgrid[: source[1], : source[0]]
    spread = max(width, height) / 20
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / spread**2).astype(np.float32)
    seen = blob[top : top + height, left : left + width]
    canvas = np.zeros((target[1], target[0]), np.float32)
    resized = cv2.resize(seen, (fit.width_px, fit.height_px), interpolation=cv2.INTER_LINEAR)
    canvas[fit.top_px : fit.top_px + fit.height_px, fit.left_px : fit.left_px + fit.width_px] = (
        resized
    )
    input_rows, input_columns = np.mgrid[: target[1], : target[0]]
    centre = np.array(
        [[(canvas * input_columns).sum(), (canvas * input_rows).sum()]] / canvas.sum(), np.float64
    )
    found = fit.keypoints_to_source(centre)[0]
    assert found == pytest.approx((x, y), abs=0.02 * max(source))
    # The half-pixel matters most where it is largest, so it is held to a tenth of a step.
    assert np.abs(found - (x, y)).max() < 0.1 / min(fit.scale_x, fit.scale_y)


def test_letterbox_keeps_the_aspect_and_centres() -> None:
    fit = letterbox((1280, 720), (257, 257))
    assert fit == Fit(0, 56, 257, 145, 257 / 1280, 145 / 720)
    assert stretch((1280, 720), (257, 257)) == Fit(0, 0, 257, 257, 257 / 1280, 257 / 720)


def test_boxes_come_back_cut_at_the_frame_and_dropped_in_the_padding() -> None:
    fit = letterbox((200, 100), (100, 100))
    inside = Detection("person", 1, 0.9, Box(10, 30, 50, 60))
    over = Detection("person", 1, 0.9, Box(-10, 0, 50, 40))
    padding = Detection("person", 1, 0.9, Box(10, 80, 50, 100))
    pose = Pose(0.5, np.full((17, 2), 49.5), np.ones(17))
    mapped = to_source(Decoded(poses=(pose,), detections=(inside, over, padding)), fit, 200, 100)
    assert [d.box for d in mapped.detections] == [Box(20, 10, 100, 70), Box(0, 0, 100, 30)]
    assert mapped.poses[0].xy[3] == pytest.approx((99.5, 49.5))
    assert [d.score for d in mapped.detections] == [0.9, 0.9]


@pytest.mark.parametrize(
    ("source", "target", "inner"),
    [
        # A side of 144.56 pixels takes 145, one of 144.49 takes 144.
        ((1280, 720), (257, 257), (0, 56, 257, 145)),
        ((1000, 562), (257, 257), (0, 56, 257, 144)),
        ((720, 1280), (257, 257), (56, 0, 145, 257)),
        ((562, 1000), (257, 257), (56, 0, 144, 257)),
        ((100, 300), (320, 240), (120, 0, 80, 240)),
        ((300, 100), (240, 320), (0, 120, 240, 80)),
        ((300, 100), (320, 100), (10, 0, 300, 100)),
        ((100, 300), (100, 320), (0, 10, 100, 300)),
        # A picture that is larger or smaller than the input on both sides.
        ((64, 48), (320, 320), (0, 40, 320, 240)),
        # Of a line a pixel remains.
        ((1000, 1), (100, 100), (0, 49, 100, 1)),
        ((1, 1000), (100, 100), (49, 0, 1, 100)),
    ],
)
def test_letterbox_is_of_whole_pixels_nearest_to_the_aspect(
    source: tuple[int, int], target: tuple[int, int], inner: tuple[int, int, int, int]
) -> None:
    fit = letterbox(source, target)
    assert (fit.left_px, fit.top_px, fit.width_px, fit.height_px) == inner
    assert (fit.scale_x, fit.scale_y) == (inner[2] / source[0], inner[3] / source[1])


def test_part_of_a_frame_in_a_part_of_the_input_comes_back() -> None:
    """A crop of 200x100 at (40, 60), in the cell of 100x100 at (300, 20): scaled by a half."""
    fit = tile(Rectangle(40, 60, 200, 100), Rectangle(300, 20, 100, 100))
    assert fit == Fit(300, 45, 100, 50, 0.5, 0.5, 40, 60)
    box = fit.box_to_source(Box(310.0, 50.0, 390.0, 90.0))
    assert box == Box(60.0, 70.0, 220.0, 150.0)
    # The middle of the pixel 310 is 21 source pixels right of the crop's edge, half of one less.
    found = fit.keypoints_to_source(np.array([[310, 50]]))
    assert found.dtype == np.float64
    assert found.tolist() == [[40 + 20.5, 60 + 10.5]]


def test_tall_part_of_a_frame_lies_in_the_middle_of_its_cell() -> None:
    fit = tile(Rectangle(40, 60, 100, 200), Rectangle(300, 20, 100, 100))
    assert fit == Fit(325, 20, 50, 100, 0.5, 0.5, 40, 60)


def test_pose_comes_back_with_its_skeleton() -> None:
    hand = Skeleton("geometry", ("a", "b"), (), (0.1, 0.1))
    pose = Pose(0.5, np.zeros((2, 2)), np.ones(2), None, hand.name)
    mapped = to_source(Decoded((pose,)), stretch((9, 9), (9, 9)), 9, 9)
    assert mapped.poses[0].skeleton == "geometry"


def test_all_that_was_found_comes_back_with_its_scores_and_ids() -> None:
    fit = letterbox((200, 100), (100, 100))
    scores = np.linspace(0.1, 0.9, 17)
    poses = (Pose(0.5, np.full((17, 2), 49.5), scores, 7), Pose(0.25, np.zeros((17, 2)), scores))
    page = Document(0.75, np.array([[10, 35], [20, 35], [20, 45], [10, 45]], np.float64))
    classes = (Classification("cat", 3, 0.5),)
    box = Detection("dog", 2, 0.625, Box(10, 30, 50, 60), 9)
    mapped = to_source(Decoded(poses, (box,), classes, (page,)), fit, 200, 100)
    assert [(p.score, p.track) for p in mapped.poses] == [(0.5, 7), (0.25, None)]
    assert all(p.scores is scores for p in mapped.poses)
    assert mapped.detections == (Detection("dog", 2, 0.625, Box(20, 10, 100, 70), 9),)
    assert mapped.classes == classes
    assert [d.score for d in mapped.documents] == [0.75]
    # Corners are pixels, as keypoints are: (10.5 * 2 - 0.5, (35 - 25 + 0.5) * 2 - 0.5).
    assert mapped.documents[0].corners[0].tolist() == [20.5, 20.5]
    assert to_source(Decoded(), fit, 200, 100) == Decoded()


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        (Box(-5.0, -5.0, 0.25, 0.5), Box(0.0, 0.0, 0.25, 0.5)),
        (Box(199.5, 99.5, 300.0, 300.0), Box(199.5, 99.5, 200.0, 100.0)),
        # What only touches the frame, or has no area, is not in it.
        (Box(-5.0, 10.0, 0.0, 20.0), None),
        (Box(10.0, -5.0, 20.0, 0.0), None),
        (Box(200.0, 10.0, 210.0, 20.0), None),
        (Box(10.0, 100.0, 20.0, 110.0), None),
        (Box(30.0, 10.0, 30.0, 20.0), None),
        (Box(30.0, 10.0, 20.0, 20.0), None),
    ],
)
def test_box_is_cut_at_the_edges_of_the_frame(box: Box, cut: Box | None) -> None:
    same = stretch((200, 100), (200, 100))
    mapped = to_source(Decoded(detections=(Detection("x", 0, 1.0, box),)), same, 200, 100)
    assert [d.box for d in mapped.detections] == ([] if cut is None else [cut])
