"""What a browser draws over the picture, of two models at once: bones, boxes, labels and ids."""

from __future__ import annotations

import base64
import colorsys
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from browsers import become, browser
from daemons import LOOPED, Daemon
from numpy.typing import NDArray
from pages import LivePage
from screens import element, result_of, share_along, texts, visit

from edgecam.core.keypoints import BONES, NAMES
from edgecam.core.opencv import cv2

# What is written on the picture since it was last begun.
LISTEN = """
window.written = [];
window.areas = [];
const hears = {
  drawImage: () => { written = []; areas = []; },
  fillText: (words, left, base) => {
    const { width, actualBoundingBoxAscent: up, actualBoundingBoxDescent: down } =
      picture.getContext("2d").measureText(words);
    written.push(words);
    areas.push([left, base - up, left + width, base + down]);
  },
};
for (const [name, hear] of Object.entries(hears)) {
  const inner = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (first, ...rest) {
    if (this.canvas === picture) hear(first, ...rest);
    return inner.call(this, first, ...rest);
  };
}
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LivePage, Any, Subscriber]]:
    folder = tmp_path_factory.mktemp("drawn")
    broker = Mosquitto(folder)
    broker.start()
    everything = Subscriber(broker.port).ready()
    (folder / "thermal_zone0").mkdir()
    (folder / "thermal_zone0" / "temp").write_text("48500")
    daemon = Daemon(
        folder,
        *("--model", "posenet", "--model", "ssdlite", "--threads", "1", *LOOPED),
        *("--web", "127.0.0.1:0", "--jsonl", folder / "lines"),
        EDGECAM_WEB_CONTROLS="snapshot",
        EDGECAM_SNAPSHOT_MODE="skeleton",
        EDGECAM_SNAPSHOT_WHEN="asked",
        EDGECAM_THERMAL_DIRECTORY=str(folder),
        EDGECAM_MQTT_URL=broker.url,
    )
    try:
        page = LivePage(daemon)
        with browser(folder, 1280, 900) as driver:
            visit(driver, page)
            driver.execute_script(LISTEN)
            yield page, driver, everything
    finally:
        daemon.close()
        everything.close()
        broker.kill()


def looked_at(page: LivePage, driver: Any) -> tuple[dict[str, Any], list[str], NDArray[np.uint8]]:
    """A result with people and boxes in it, what is written over it, and its pixels."""
    for _ in range(50):
        number, words, url = driver.execute_script(
            "return [picture.dataset.sequence, written, picture.toDataURL('image/png')]"
        )
        result = result_of(page, int(number))
        if words and len(result["poses"]) > 1 and len(result["detections"]) > 1:
            data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
            return result, words, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    raise AssertionError("never two people and two boxes in one picture")


def colour(number: int) -> tuple[int, int, int]:
    """As the page gives it to this id, BGR."""
    hue = round(number * 0.61803398875 % 1 * 360) / 360
    red, green, blue = colorsys.hls_to_rgb(hue, 0.62, 0.9)
    return round(255 * blue), round(255 * green), round(255 * red)


def seen(
    image: NDArray[np.uint8], way: list[list[float]], own: tuple[int, int, int]
) -> tuple[float, float]:
    """How much of this way has the colour, and how much of one a few pixels beside it."""
    (x0, y0), (x1, y1) = way
    is_steep = abs(y1 - y0) > abs(x1 - x0)
    right, down = (0.02, 0.0) if is_steep else (0.0, 0.02)
    other = [[x0 + right, y0 + down], [x1 + right, y1 + down]]
    return share_along(image, way, own), share_along(image, other, own)


def track(found: dict[str, Any]) -> str:
    return f" #{found['track']}" if "track" in found else ""


def test_bones_boxes_labels_and_ids_are_those_of_the_result(
    shown: tuple[LivePage, Any, Subscriber],
) -> None:
    page, driver, _ = shown
    shares = {"bone": list[tuple[float, float]](), "box": list[tuple[float, float]]()}
    for _ in range(6):
        result, words, image = looked_at(page, driver)
        size = (result["frame"]["width"], result["frame"]["height"])
        for index, pose in enumerate(result["poses"]):
            own = colour(pose.get("track", index))
            sure = {n: p for n, p in pose["keypoints"].items() if p["score"] >= 0.3}
            for bone in BONES:
                ends = [NAMES[end] for end in bone]
                if sure.keys() >= set(ends):
                    way = [[sure[n]["x"] / size[0], sure[n]["y"] / size[1]] for n in ends]
                    shares["bone"].append(seen(image, way, own))
        for index, found in enumerate(result["detections"]):
            own = colour(found.get("track", index))
            x0, y0, x1, y1 = np.array(found["box"]) / [*size, *size]
            corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
            for way in itertools.pairwise(corners):
                shares["box"].append(seen(image, list(way), own))
        expected = [track(pose).strip() for pose in result["poses"] if "track" in pose]
        posed = {pose["track"] for pose in result["poses"] if "track" in pose}
        for found in result["detections"]:
            # A person has one id, which the pose bears.
            if found.get("track") not in posed:
                expected.append(f"{found['label']}{track(found)} {found['score']:.2f}")
        assert sorted(words) == sorted(expected)
    # Discs lie over the ends of bones, words over heads; beside its place there is nothing of it.
    for kind, least in (("bone", 0.5), ("box", 0.9)):
        there, beside = np.array(shares[kind]).T
        assert len(there) >= 20
        assert np.median(there) > least, there
        assert np.median(beside) < 0.2, beside


@pytest.mark.parametrize("size", [(390, 844), (768, 1024), (1440, 900)])
def test_no_label_covers_another_or_leaves_the_picture(
    shown: tuple[LivePage, Any, Subscriber], size: tuple[int, int]
) -> None:
    _, driver, _ = shown
    become(driver, *size)
    labels = 0
    for _ in range(20):
        before = driver.execute_script("return picture.dataset.sequence")
        assert wait_until(
            lambda last=before: driver.execute_script("return picture.dataset.sequence") != last, 20
        )
        width, height, areas = driver.execute_script(
            "return [picture.width, picture.height, areas]"
        )
        labels += len(areas)
        for left, top, right, bottom in areas:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
        for one, other in itertools.combinations(areas, 2):
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] or other[3] <= one[1], (one, other)
    assert labels > 20
    become(driver, 1280, 900)


def test_latency_and_temperature_are_plotted_too(
    shown: tuple[LivePage, Any, Subscriber],
) -> None:
    _, driver, _ = shown

    def points(name: str) -> int:
        return int(element(driver, f"plot-{name}").get_attribute("data-points") or 0)

    before = {name: points(name) for name in ("fps", "latency", "temperature")}
    assert wait_until(lambda: all(points(name) > number for name, number in before.items()), 15)
    assert texts(driver, "temperature") == "48.5"
    assert wait_until(lambda: float(texts(driver, "latency").replace("–", "0")) > 1, 10)


def test_a_snapshot_is_taken_by_its_button(shown: tuple[LivePage, Any, Subscriber]) -> None:
    _, driver, everything = shown
    button = element(driver, "snapshot")
    assert button.is_displayed()
    assert not element(driver, "pause").is_displayed()
    topic = "edgecam/camera/snapshot"
    # An empty one came at the start: what was kept from an earlier run is taken away.
    before = len(everything.of(topic))
    button.click()
    (taken, *_) = everything.wait_for(topic, before + 1)[before:]
    assert taken.payload.startswith(b"\xff\xd8")
