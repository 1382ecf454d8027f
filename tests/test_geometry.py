import numpy as np
import pytest

from edgecam.core.geometry import FITS, Fit, letterbox, stretch, to_source
from edgecam.core.opencv import cv2
from edgecam.core.result import Box, Decoded, Detection, Pose

SIZES = [((768, 576), (481, 353)), ((1280, 720), (257, 257)), ((30, 90), (300, 300))]


@pytest.mark.parametrize("fit_name", sorted(FITS))
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_a_dot_found_in_the_input_lies_where_it_was_drawn(
    fit_name: str, source: tuple[int, int], target: tuple[int, int]
) -> None:
    """OpenCV's own resize says where a blob goes; the inverse must bring it back."""
    x, y = source[0] * 0.3, source[1] * 0.7
    rows, columns = np.mgrid[: source[1], : source[0]]
    spread = max(source) / 20
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / spread**2).astype(np.float32)
    fit = FITS[fit_name](source, target)
    canvas = np.zeros((target[1], target[0]), np.float32)
    resized = cv2.resize(blob, (fit.width_px, fit.height_px), interpolation=cv2.INTER_LINEAR)
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
