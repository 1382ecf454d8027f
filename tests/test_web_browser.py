"""The live page in a real browser: it shows what the results say, and its controls work."""

from __future__ import annotations

import base64
import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokers import wait_until
from browsers import browser
from numpy.typing import NDArray
from pages import TOKEN, LivePage, live_page

from edgecam.opencv import cv2

DESKTOP, PHONE = (1280, 900), (390, 844)
KEYPOINT_BGR = (0, 212, 255)
# A disc of 3 px: its centre is within half a pixel of where the result says.
TOLERANCE = 40


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    folder = tmp_path_factory.mktemp("page")
    controls = "pause,decode.score_threshold"
    with live_page(folder, "--jsonl", folder / "lines", EDGECAM_WEB_CONTROLS=controls) as made:
        yield made


@pytest.fixture(scope="module")
def desktop(page: LivePage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("desktop"), *DESKTOP) as driver:
        driver.get(page.url)
        assert wait_until(lambda: sequence(driver) > 0, 20), driver.get_log("browser")
        yield driver


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
    # A label may cover one.
    assert len(missed) <= len(inside) // 20, missed


def test_the_picture_moves_and_its_skeletons_are_where_the_results_say(
    page: LivePage, desktop: Any
) -> None:
    first_number, first = drawn(desktop)
    assert wait_until(lambda: sequence(desktop) > first_number + 5, 10)
    _, second = drawn(desktop)
    assert np.abs(first.astype(int) - second).mean() > 0.5
    for _ in range(3):
        check_skeletons(page, desktop)
    # Black would be a picture that did not come.
    assert second.mean() > 40


def test_nothing_is_wrong_on_the_console(desktop: Any) -> None:
    assert [entry for entry in desktop.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_plots_advance_and_health_is_told(desktop: Any) -> None:
    def points() -> int:
        plot = element(desktop, "plot-fps")
        return int(plot.get_attribute("data-points") or 0)

    before = points()
    assert wait_until(lambda: points() > before, 10)
    assert wait_until(lambda: float(texts(desktop, "fps").replace("–", "0")) > 0, 10)
    health = texts(desktop, "health")
    for words in ("posenet", "threads", "Dropped frames", "Reconnects", "online"):
        assert words in health
    assert "connected" in texts(desktop, "state")
    assert wait_until(lambda: "person" in texts(desktop, "counts"), 20)


def test_pause_pauses_by_keyboard(page: LivePage, desktop: Any) -> None:
    button = element(desktop, "pause")
    assert button.is_displayed()
    assert not element(desktop, "snapshot").is_displayed()
    button.send_keys(" ")
    assert wait_until(lambda: "paused" in texts(desktop, "state"), 10)
    time.sleep(1)
    stopped = sequence(desktop)
    time.sleep(1)
    assert sequence(desktop) == stopped
    check_skeletons(page, desktop)
    assert button.get_attribute("aria-pressed") == "true"
    button.send_keys(" ")
    assert wait_until(lambda: sequence(desktop) > stopped, 10)
    assert wait_until(lambda: "goes on" in texts(desktop, "events"), 5)


def test_the_score_threshold_is_set(page: LivePage, desktop: Any) -> None:
    element(desktop, "threshold").send_keys("\ue014\ue014")  # arrow right, twice
    page.daemon.wait_log("decode.score_threshold set to 0.6 on the live page")


def test_without_pictures_skeletons_go_on_over_black(page: LivePage, desktop: Any) -> None:
    box = element(desktop, "pictures")
    box.send_keys(" ")
    number = sequence(desktop)
    assert wait_until(lambda: sequence(desktop) > number + 3, 10)
    image = drawn(desktop)[1]
    assert (image.max(axis=2) == 0).mean() > 0.8
    check_skeletons(page, desktop)
    box.send_keys(" ")
    assert wait_until(lambda: drawn(desktop)[1].mean() > 40, 10)


def test_zones_and_lines_become_toml(desktop: Any) -> None:
    from selenium.webdriver import ActionChains

    canvas = element(desktop, "picture")
    element(desktop, "zone-new").click()
    size = canvas.size
    corners = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.8))
    for x, y in corners:
        # Offsets count from the middle.
        offset = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        ActionChains(desktop).move_to_element_with_offset(canvas, *offset).click().perform()
    element(desktop, "shape-done").click()
    element(desktop, "line-new").click()
    # By keyboard: the cross begins in the middle, Enter sets an end.
    canvas.send_keys("\ue007", "\ue014" * 10, "\ue007")
    text = element(desktop, "toml").get_attribute("value")
    made = tomllib.loads(text)
    (zone,), (line,) = made["zone"], made["line"]
    assert np.allclose(zone["polygon"], corners, atol=0.01)
    assert np.allclose((line["start"], line["end"]), ((0.5, 0.5), (0.6, 0.5)), atol=0.001)
    element(desktop, "shape-clear").click()


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off(page: LivePage, tmp_path: Path, dark: bool) -> None:
    with browser(tmp_path, *PHONE, dark=dark) as driver:
        driver.get(page.url)
        assert wait_until(lambda: sequence(driver) > 0, 20)
        width, across = driver.execute_script(
            "return [innerWidth, document.documentElement.scrollWidth]"
        )
        assert (width, across) == (PHONE[0], PHONE[0])
        heights = set()
        for _ in range(5):
            heights.add(driver.execute_script("return document.getElementById('events').offsetTop"))
            time.sleep(0.4)
        # Nothing jumps, whoever comes and goes.
        assert len(heights) == 1
        check_skeletons(page, driver)
        back = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(16, 19, 23)" if dark else "rgb(246, 247, 249)")


def test_the_token_is_asked_for_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with (
        live_page(tmp_path, listen="0.0.0.0:0", EDGECAM_WEB_TOKEN_FILE=str(token)) as far,
        browser(tmp_path, *DESKTOP) as driver,
    ):
        driver.get(far.url)
        field = driver.find_element("name", "token")
        field.send_keys(TOKEN)
        field.submit()
        assert wait_until(lambda: "picture" in driver.page_source, 10)
        assert wait_until(lambda: sequence(driver) > 0, 10)
        driver.get(far.url)
        assert wait_until(lambda: sequence(driver) > 0, 10)


def test_every_control_has_a_name_for_a_screen_reader(desktop: Any) -> None:
    tree = desktop.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "checkbox", "slider", "textbox", "image"}
    nodes = [n for n in tree if not n.get("ignored") and n["role"]["value"] in roles]
    assert len(nodes) >= 10
    assert [n for n in nodes if not n.get("name", {}).get("value")] == []
