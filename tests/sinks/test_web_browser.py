"""The live page in a real browser: it shows what the results say, and its controls work.

One daemon and one browser serve all of it; the camera and the broker are real processes that one
test takes away.
"""

from __future__ import annotations

import itertools
import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from browsers import become, browser
from daemons import LOOPED, Daemon
from pages import TOKEN, LivePage, live_page
from screens import (
    check_skeletons,
    click_at,
    drawn,
    element,
    sequence,
    shape_names,
    share_along,
    texts,
    toml,
    visit,
)
from tensorflowjs import package
from web_costs import Camera

DESKTOP, PHONE, SIDEWAYS = (1280, 900), (390, 844), (844, 390)
ZONE_BGR, LINE_BGR = (216, 79, 255), (255, 216, 79)
SCENE = {
    "zone": [
        {
            "name": "path",
            "polygon": [[0.3, 0.35], [0.98, 0.35], [0.98, 0.75], [0.55, 0.8]],
            "inside": "ankle",
            "labels": ["person", 'odd "one"'],
            "dwell_s": 2.5,
        }
    ],
    "line": [{"name": "door", "start": [0.2, 0.1], "end": [0.5, 0.1], "margin": 0.02}],
    "mask": [{"name": "van", "polygon": [[0.85, 0.1], [1, 0.1], [1, 0.3]], "excludes": ["fall"]}],
}
SCENE_TOML = """
[[zone]]
name = "path"
polygon = [[0.3, 0.35], [0.98, 0.35], [0.98, 0.75], [0.55, 0.8]]
inside = "ankle"
labels = ["person", 'odd "one"']
dwell_s = 2.5
[[line]]
name = "door"
start = [0.2, 0.1]
end = [0.5, 0.1]
margin = 0.02
[[mask]]
name = "van"
polygon = [[0.85, 0.1], [1, 0.1], [1, 0.3]]
excludes = ["fall"]
"""


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    made = Camera(5.0)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path_factory.mktemp("broker"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    everything = Subscriber(broker.port).ready()
    yield everything
    everything.close()


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, camera: Camera, subscriber: Subscriber
) -> Iterator[LivePage]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "scene.toml").write_text(SCENE_TOML)
    daemon = Daemon(
        folder,
        *("--model", "posenet", "--threads", "1", "--source", camera.url, "--web", "127.0.0.1:0"),
        *("--jsonl", folder / "lines", "--config", folder / "scene.toml"),
        EDGECAM_WEB_CONTROLS="pause,decode.score_threshold",
        EDGECAM_MQTT_URL=f"mqtt://127.0.0.1:{subscriber.port}",
    )
    try:
        yield LivePage(daemon)
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def driver(page: LivePage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("browser"), *DESKTOP) as made:
        visit(made, page)
        yield made


@pytest.fixture
def desktop(page: LivePage, driver: Any) -> Any:
    """The browser on a desk, on the page."""
    become(driver, *DESKTOP)
    if driver.current_url != f"{page.url}/":
        visit(driver, page)
    return driver


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


def test_zones_lines_and_masks_are_drawn_with_their_names(page: LivePage, desktop: Any) -> None:
    corners = SCENE["zone"][0]["polygon"]
    box = element(desktop, "pictures")
    box.send_keys(" ")
    number = sequence(desktop)
    assert wait_until(lambda: sequence(desktop) > number + 3, 10)
    image = drawn(desktop)[1]
    for edge in zip(corners, [*corners[1:], corners[0]], strict=True):
        # People walk over it, and its name stands on it.
        assert share_along(image, list(edge), ZONE_BGR) > 0.6
    line = SCENE["line"][0]
    # Its name stands over its beginning.
    assert share_along(image, [line["start"], line["end"]], LINE_BGR) > 0.8
    height, width = image.shape[:2]
    inside = image[round(0.15 * height), round(0.97 * width)]
    assert np.abs(inside.astype(int) - 24).max() < 10, inside
    # Its name, in white, begins at its first corner.
    for name in ("door", "van", "path"):
        shape = next(s for shapes in SCENE.values() for s in shapes if s["name"] == name)
        x, y = shape.get("start", shape.get("polygon", [[0, 0]])[0])
        left, base = min(round(x * width), width - 40), round(y * height)
        assert (image[base - 16 : base + 2, left : left + 40].min(axis=2) > 240).sum() > 20, name
    check_skeletons(page, desktop)
    box.send_keys(" ")
    assert wait_until(lambda: drawn(desktop)[1].mean() > 40, 10)
    assert {name["value"] for name in shape_names(desktop)} == {"path", "door", "van"}


@pytest.mark.parametrize("size", [DESKTOP, (768, 1024), PHONE], ids=["desk", "tablet", "phone"])
def test_what_draws_stands_at_the_picture(desktop: Any, size: tuple[int, int]) -> None:
    become(desktop, *size)
    time.sleep(0.3)
    desktop.execute_script("scrollTo(0, 0)")
    stage, button = (element(desktop, name).rect for name in ("stage", "zone-new"))
    beside = button["x"] >= stage["x"] + stage["width"]
    right_below = 0 <= button["y"] - stage["y"] - stage["height"] < 250
    assert beside if size == DESKTOP else right_below


def test_the_plots_advance_and_health_is_shown(desktop: Any) -> None:
    def points() -> int:
        plot = element(desktop, "plot-fps")
        return int(plot.get_attribute("data-points") or 0)

    before = points()
    assert wait_until(lambda: points() > before, 10)
    assert wait_until(lambda: float(texts(desktop, "fps").replace("–", "0")) > 0, 10)
    health = texts(desktop, "health")
    for words in ("posenet", "xnnpack", "1 thread,", "Dropped frames", "Reconnects", "connected"):
        assert words in health, words
    assert "connected" in texts(desktop, "state")
    assert wait_until(lambda: "person" in texts(desktop, "counts"), 20)
    assert "path: " in texts(desktop, "counts")


def test_the_events_are_those_that_are_published_newest_first(
    desktop: Any, subscriber: Subscriber
) -> None:
    def listed() -> list[tuple[str, str]]:
        rows = desktop.execute_script(
            "return [...document.querySelectorAll('#events li')].map("
            "(item) => [item.className, item.dataset.id])"
        )
        return [(kind, number) for kind, number in rows]

    def published() -> list[tuple[str, str]]:
        events = [json.loads(m.payload) for m in subscriber.of("edgecam/camera/event")]
        return [(event["event_type"], event["id"]) for event in events]

    assert wait_until(lambda: len(published()) > 12, 30)
    assert wait_until(lambda: listed() == published()[:-201:-1], 5)
    kinds = {kind for kind, _ in published()}
    assert "appeared" in kinds
    newest = texts(desktop, "events").splitlines()[0]
    assert "person #" in newest


def test_the_list_does_not_move_under_the_reader_nor_talk_without_end(desktop: Any) -> None:
    desktop.execute_script(
        """
        events.scrollTop = 60;
        const read = events.children[5];
        window.readAt = () => read.getBoundingClientRect().top - events.getBoundingClientRect().top;
        window.before = { at: readAt(), rows: events.childElementCount };
        window.said = [];
        new MutationObserver(() => said.push([performance.now(), announcement.textContent]))
          .observe(announcement, { childList: true });
        """
    )
    grown = "return events.childElementCount > before.rows + 3 && said.length > 0"
    assert wait_until(lambda: desktop.execute_script(grown), 30)
    time.sleep(3)
    reading, before, said, live = desktop.execute_script(
        "return [readAt(), before.at, said, events.closest('[aria-live],[role=log]')]"
    )
    assert reading == pytest.approx(before, abs=2)
    assert live is None
    # One sentence in ten seconds by the page's own clock, however much happens.
    times_ms = [at_ms for at_ms, _ in said]
    assert all(later - at > 9000 for at, later in itertools.pairwise(times_ms)), said
    assert "person #" in said[0][1]
    desktop.execute_script("events.scrollTop = 0")


# In the list of events older ones make room, inside its own frame.
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const moved = entry.sources.map(({ node }) => node).filter((node) => !events.contains(node));
    shifts.push(...moved.map((node) => node.id || node.textContent));
  }
}).observe({ type: "layout-shift", buffered: false });
"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_jumps_when_people_come_and_go(desktop: Any, size: tuple[int, int]) -> None:
    become(desktop, *size)
    time.sleep(1)
    desktop.execute_script(
        SHIFTS + "window.seen = new Set(); window.watch = setInterval(() => "
        "seen.add(counts.textContent + events.childElementCount), 50)"
    )
    assert wait_until(lambda: desktop.execute_script("return seen.size") > 4, 30)
    assert desktop.execute_script("clearInterval(watch); return shifts") == []


def test_pause_pauses_by_keyboard(page: LivePage, desktop: Any) -> None:
    button = element(desktop, "pause")
    assert button.is_displayed()
    assert not element(desktop, "snapshot").is_displayed()
    button.send_keys(" ")
    assert wait_until(lambda: "paused" in texts(desktop, "state"), 10)

    def stands_still() -> bool:
        stopped = sequence(desktop)
        time.sleep(1)
        return sequence(desktop) == stopped

    # A result or two may still be on their way.
    assert wait_until(stands_still, 20)
    check_skeletons(page, desktop)
    assert button.get_attribute("aria-pressed") == "true"
    stopped = sequence(desktop)
    button.send_keys(" ")
    assert wait_until(lambda: sequence(desktop) > stopped, 10)
    assert wait_until(lambda: "paused" not in texts(desktop, "state"), 5)


def test_the_score_threshold_is_set(page: LivePage, desktop: Any) -> None:
    element(desktop, "threshold").send_keys("\ue014\ue014")  # arrow right, twice
    page.daemon.wait_log("decode.score_threshold set to 0.6 on the live page")


TRIANGLE = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.8))


def test_the_editor_begins_with_what_is_configured_and_its_toml_loads(desktop: Any) -> None:
    assert toml(desktop) == tomllib.loads(SCENE_TOML) == SCENE
    assert not element(desktop, "shapes-reset").is_enabled()
    for kind in ("zone", "mask"):
        element(desktop, f"{kind}-new").click()
        click_at(desktop, TRIANGLE)
        element(desktop, "shape-done").click()
    element(desktop, "line-new").click()
    # By keyboard: the cross begins in the middle, Enter sets an end.
    element(desktop, "picture").send_keys("\ue007", "\ue014" * 10, "\ue007")
    made = toml(desktop)
    for kind, before in SCENE.items():
        assert made[kind][:-1] == before
        assert made[kind][-1]["name"] == f"{kind}_1"
    for kind in ("zone", "mask"):
        assert np.allclose(made[kind][-1]["polygon"], TRIANGLE, atol=0.01)
    line = made["line"][-1]
    assert np.allclose((line["start"], line["end"]), ((0.5, 0.5), (0.6, 0.5)), atol=0.001)
    assert wait_until(lambda: "This will do" in texts(desktop, "toml-check"), 5)


def test_shapes_are_renamed_checked_and_deleted(desktop: Any) -> None:
    element(desktop, "shapes-reset").click()
    name = desktop.find_element("css selector", "#shapes input")
    name.send_keys("\ue009a\ue000", "Garden path")
    # What the configuration file would say, from the daemon.
    assert wait_until(lambda: "zone.name" in texts(desktop, "toml-check"), 5)
    name.send_keys("\ue009a\ue000", "garden-path")
    assert wait_until(lambda: "This will do" in texts(desktop, "toml-check"), 5)
    assert toml(desktop)["zone"][0] == {**SCENE["zone"][0], "name": "garden-path"}
    desktop.find_element("css selector", "#shapes button").click()
    assert "zone" not in toml(desktop)
    element(desktop, "zone-new").click()
    click_at(desktop, TRIANGLE[:2])
    assert not element(desktop, "shape-done").is_enabled()
    element(desktop, "picture").send_keys("\ue00c")  # Escape: two corners are no zone
    assert not element(desktop, "drawing").is_displayed()
    element(desktop, "shapes-reset").click()
    assert toml(desktop) == SCENE
    assert wait_until(lambda: "what runs now" in texts(desktop, "toml-check"), 5)


def test_a_zone_is_drawn_by_finger_on_a_phone(desktop: Any) -> None:
    become(desktop, *PHONE)
    time.sleep(0.3)
    element(desktop, "zone-new").click()
    click_at(desktop, TRIANGLE)
    element(desktop, "shape-done").click()
    assert np.allclose(toml(desktop)["zone"][-1]["polygon"], TRIANGLE, atol=0.01)
    element(desktop, "shapes-reset").click()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(page: LivePage, desktop: Any, dark: bool) -> None:
    become(desktop, *PHONE, dark=dark)
    time.sleep(0.3)
    width, across = desktop.execute_script(
        "return [innerWidth, document.documentElement.scrollWidth]"
    )
    assert (width, across) == (PHONE[0], PHONE[0])
    check_skeletons(page, desktop)
    back = desktop.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(16, 19, 23)" if dark else "rgb(246, 247, 249)")


def test_the_whole_picture_fits_a_phone_held_sideways(desktop: Any) -> None:
    become(desktop, *SIDEWAYS)
    time.sleep(0.3)
    shown = element(desktop, "picture").rect
    assert shown["height"] <= 0.8 * SIDEWAYS[1] + 1
    assert shown["width"] / shown["height"] == pytest.approx(4 / 3, rel=0.01)
    # A click is where it looks.
    element(desktop, "zone-new").click()
    click_at(desktop, TRIANGLE)
    element(desktop, "shape-done").click()
    assert np.allclose(toml(desktop)["zone"][-1]["polygon"], TRIANGLE, atol=0.01)
    element(desktop, "shapes-reset").click()


def test_the_toml_is_copied_and_said_so(desktop: Any) -> None:
    element(desktop, "toml-copy").click()
    assert wait_until(lambda: texts(desktop, "toml-copied") == "Copied.", 5)
    # Where there is no clipboard, as over plain HTTP from elsewhere.
    desktop.execute_script(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true});"
        "document.getElementById('toml-copied').textContent = ''"
    )
    element(desktop, "toml-copy").click()
    assert wait_until(lambda: texts(desktop, "toml-copied") == "Copied.", 5)
    desktop.execute_script("delete navigator.clipboard")


def test_numbers_that_always_change_are_not_read_out(desktop: Any) -> None:
    live = "[aria-live], [role=status], [role=alert], [role=log], output"
    talking = desktop.execute_script(
        f"return [...document.querySelectorAll('{live}')].map((item) => item.id)"
    )
    assert set(talking) == {
        *(
            "state",
            "answer",
            "announcement",
            "toml-check",
            "toml-copied",
            "drawing-what",
            "shapes-saved",
            "threshold-value",
        ),
    }
    said = desktop.execute_async_script(
        "const [done] = [arguments[0]], said = [];"
        "const output = document.getElementById('threshold-value');"
        "new MutationObserver(() => said.push(output.textContent))"
        ".observe(output, {childList: true});"
        "setTimeout(() => done(said), 2500)"
    )
    assert said == []


def test_the_tab_key_reaches_everything_and_leaves_again(desktop: Any) -> None:
    desktop.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached: list[str] = []
    for _ in range(40):
        desktop.switch_to.active_element.send_keys("\ue004")
        reached.append(
            desktop.execute_script("return (document.activeElement || document.body).id")
        )
    usable = desktop.execute_script(
        "return [...document.querySelectorAll('button, input, textarea, [tabindex]')].filter("
        "(item) => item.id && !item.disabled && item.offsetParent).map((item) => item.id)"
    )
    assert len(usable) >= 10
    assert set(usable) <= set(reached)


def test_every_control_has_a_name_for_a_screen_reader(desktop: Any) -> None:
    tree = desktop.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "checkbox", "slider", "textbox", "image"}
    nodes = [n for n in tree if not n.get("ignored") and n["role"]["value"] in roles]
    assert len(nodes) >= 10
    assert [n for n in nodes if not n.get("name", {}).get("value")] == []


def test_axe_finds_no_barrier(desktop: Any, tmp_path: Path) -> None:
    axe = (package("axe-core@4", tmp_path) / "axe.min.js").read_text()
    for size, dark in ((DESKTOP, False), (PHONE, True)):
        become(desktop, *size, dark=dark)
        time.sleep(0.3)
        desktop.execute_script(axe)
        found = desktop.execute_async_script("axe.run(document).then(arguments[0])")
        assert len(found["passes"]) > 20
        faults = [
            (fault["id"], [node["html"][:80] for node in fault["nodes"]])
            for fault in found["violations"]
        ]
        assert faults == [], (size, dark)


def test_a_lost_camera_and_broker_are_shown_with_their_reasons(
    desktop: Any, camera: Camera, broker: Mosquitto
) -> None:
    def reason(of: str) -> str:
        badges = texts(desktop, "state").splitlines()
        return next((badge.partition(of)[2] for badge in badges if of in badge), "")

    camera.kill()
    broker.kill()
    assert wait_until(lambda: len(reason("camera offline: ")) > 10, 15), texts(desktop, "state")
    assert wait_until(lambda: len(reason("broker disconnected: ")) > 10, 15)
    broker.start()
    camera.start()
    assert wait_until(lambda: "camera online" in texts(desktop, "state"), 20)
    assert wait_until(lambda: "broker connected" in texts(desktop, "state"), 20)
    assert wait_until(lambda: "Reconnects\t1" in texts(desktop, "health"), 5)


def test_nothing_is_wrong_on_the_console(desktop: Any) -> None:
    faults = [entry for entry in desktop.get_log("browser") if entry["level"] == "SEVERE"]
    # A name that would not do was refused, as it was meant to be.
    assert [entry["message"] for entry in faults if "/zones" not in entry["message"]] == []


def test_the_token_is_asked_for_once(driver: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with live_page(tmp_path, listen="0.0.0.0:0", EDGECAM_WEB_TOKEN_FILE=str(token)) as far:
        driver.get(far.url)
        field = driver.find_element("name", "token")
        # Its own style is let through: as wide as the column, with a finger's height.
        assert field.size["height"] >= 44
        field.send_keys("not the token")
        field.submit()
        assert wait_until(lambda: "the token is missing or wrong" in driver.page_source, 10)
        driver.get(f"{far.url}/login")
        field = driver.find_element("name", "token")
        field.send_keys(TOKEN)
        field.submit()
        assert wait_until(lambda: "picture" in driver.page_source, 10)
        assert wait_until(lambda: sequence(driver) > 0, 10)
        driver.get(far.url)
        assert wait_until(lambda: sequence(driver) > 0, 10)


def test_a_page_without_people_says_nothing_and_what_has_ended_is_dimmed(
    driver: Any, tmp_path: Path
) -> None:
    daemon = Daemon(
        tmp_path, "--model", "documents", *LOOPED, "--threads", "1", "--web", "127.0.0.1:0"
    )
    try:
        driver.get(LivePage(daemon).url)
        assert wait_until(lambda: sequence(driver) > 0, 20)
        assert wait_until(lambda: "documents" in texts(driver, "health"), 10)
        # The street has no page of paper in it.
        assert wait_until(lambda: texts(driver, "counts") == "nothing", 10)
        dimmed = "return Number(getComputedStyle(picture).opacity)"
        assert driver.execute_script(dimmed) == 1
    finally:
        daemon.close()
    assert wait_until(lambda: "no connection to edgecam" in texts(driver, "state"), 10)
    assert driver.execute_script(dimmed) < 0.6
