"""What a browser shows of the live page, and clicks on it."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from brokers import wait_until
from numpy.typing import NDArray
from pages import LivePage

from edgecam.core.opencv import cv2
from edgecam.settings.load import parse_toml

KEYPOINT_BGR = (0, 212, 255)
# A disc of 3 px: its centre is within half a pixel of where the result says.
TOLERANCE = 40


def visit(driver: Any, page: LivePage) -> None:
    driver.get(page.url)
    assert wait_until(lambda: sequence(driver) > 0, 20), driver.get_log("browser")
    # Closed at first, for most people look and draw nothing.
    assert not driver.execute_script("return editor.open")
    driver.find_element("css selector", "#editor summary").click()


def sequence(driver: Any) -> int:
    return int(driver.execute_script("return picture.dataset.sequence || 0"))


def drawn(driver: Any) -> tuple[int, NDArray[np.uint8]]:
    """The number of the frame on the canvas, and its pixels, uint8[H, W, 3] BGR."""
    number, url = driver.execute_script(
        "return [picture.dataset.sequence, picture.toDataURL('image/png')]"
    )
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None
    return int(number), np.asarray(image, np.uint8)


def result_of(page: LivePage, number: int) -> dict[str, Any]:
    def lines() -> list[dict[str, Any]]:
        text = (page.daemon.supervisor.path.parent / "lines").read_text()
        whole = text[: text.rfind("\n")].splitlines()
        return [line for line in map(json.loads, whole) if line["sequence"] == number]

    assert wait_until(lambda: bool(lines()), 5)
    return lines()[0]


def element(driver: Any, name: str) -> Any:
    return driver.find_element("id", name)


def texts(driver: Any, name: str) -> str:
    return str(
        driver.execute_script("return document.getElementById(arguments[0]).innerText", name)
    )


def toml(driver: Any) -> dict[str, Any]:
    """What the editor wrote, as it stands in the settings once they have taken it."""
    text = element(driver, "toml").get_attribute("value")
    return parse_toml(text.encode(), "the editor's text")


def check_skeletons(page: LivePage, driver: Any) -> None:
    number, image = drawn(driver)
    result = result_of(page, number)
    scale = image.shape[1] / result["frame"]["width"]
    points = [
        (keypoint["x"] * scale, keypoint["y"] * scale)
        for pose in result["poses"]
        for keypoint in pose["keypoints"].values()
        if keypoint["score"] >= 0.3
    ]
    inside = [
        (round(x), round(y))
        for x, y in points
        if 2 <= x < image.shape[1] - 3 and 2 <= y < image.shape[0] - 3
    ]
    assert len(inside) >= 10
    missed = [
        (x, y)
        for x, y in inside
        if np.abs(image[y, x].astype(int) - KEYPOINT_BGR).max() > TOLERANCE
    ]
    # A label may cover some.
    assert len(missed) <= len(inside) // 10, missed


def share_along(
    image: NDArray[np.uint8], ends: list[list[float]], colour: tuple[int, int, int]
) -> float:
    """How much of the way between two places, in fractions of the frame, has this colour."""
    size = np.array(image.shape[1::-1])
    (x0, y0), (x1, y1) = (np.array(end) * size for end in ends)
    steps = np.linspace(0.02, 0.98, 100)
    hits = 0
    for step in steps:
        x, y = round(x0 + step * (x1 - x0)), round(y0 + step * (y1 - y0))
        near = image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].reshape(-1, 3).astype(int)
        hits += bool((np.abs(near - colour).max(axis=1) < TOLERANCE).any())
    return hits / len(steps)


def shape_names(driver: Any) -> list[dict[str, str]]:
    found: list[dict[str, str]] = driver.execute_script(
        "return [...document.querySelectorAll('#shapes input')].map(({value}) => ({value}))"
    )
    return found


def click_at(driver: Any, corners: tuple[tuple[float, float], ...]) -> None:
    """By mouse, or by finger on a phone."""
    area = driver.execute_script(
        "picture.scrollIntoView({block: 'nearest'});"
        "const area = picture.getBoundingClientRect();"
        "return [area.x, area.y, area.width, area.height]"
    )
    touch = driver.execute_script("return navigator.maxTouchPoints") > 0
    for across, down in corners:
        x, y = area[0] + across * area[2], area[1] + down * area[3]
        if touch:
            point = [{"x": x, "y": y}]
            for kind, points in (("touchStart", point), ("touchEnd", [])):
                driver.execute_cdp_cmd(
                    "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
                )
        else:
            for kind in ("mousePressed", "mouseReleased"):
                where = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
                driver.execute_cdp_cmd("Input.dispatchMouseEvent", where)
