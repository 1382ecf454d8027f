"""The live page of several cameras, in a real browser."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import free_port, wait_until
from browsers import browser
from daemons import Daemon
from programs import CLIP

FILE = f'source = {{url = "{CLIP}", realtime = true, loop = true'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with three cameras, one of which is away."""
    folder, port = tmp_path_factory.mktemp("house"), free_port()
    path = folder / "house.toml"
    path.write_text(
        'accuracy = "fast"\n[inference]\nthreads = 1\n'
        f'[web]\nlisten = "127.0.0.1:{port}"\ncontrols = ["pause"]\n'
        f'[[camera]]\nname = "front"\n{FILE}}}\n'
        '[[camera.zone]]\nname = "door"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'
        f'[[camera]]\nname = "hall"\n{FILE}, rotate = 90}}\n'
        '[[camera]]\nname = "yard"\nsource = "http://127.0.0.1:9/stream"\n'
    )
    daemon = Daemon(folder, "--config", path)
    try:
        daemon.wait_ready()
        yield f"http://127.0.0.1:{port}"
    finally:
        daemon.close()


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60.0) as answer:
        body: bytes = answer.read()
    return body


def until(what: Callable[[], object]) -> None:
    assert wait_until(what, 20.0)


def test_each_camera_has_its_own_state_and_metrics(house: str) -> None:
    assert json.loads(read(f"{house}/cameras.json")) == ["front", "hall", "yard"]

    def state(name: str) -> Any:
        return json.loads(read(f"{house}/api/state?camera={name}"))["telemetry"]

    until(lambda: all(state(name) for name in ("front", "hall", "yard")))
    assert [state(name)["name"] for name in ("front", "hall", "yard")] == ["front", "hall", "yard"]
    assert state("yard")["source"]["state"] == "offline"
    metrics = read(f"{house}/metrics").decode()
    for name in ("front", "hall", "yard"):
        assert f'edgecam_fps{{name="{name}",stage="published"}}' in metrics
    assert metrics.count("# TYPE edgecam_fps gauge") == 1
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"{house}/snapshot.jpg?camera=attic")


def test_the_grid_shows_all_and_a_camera_in_full_by_click_and_arrow_key(
    house: str, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    with browser(tmp_path, 1200, 800) as driver:
        driver.get(house)

        def tile(name: str) -> Any:
            found = driver.find_elements(By.CSS_SELECTOR, f'.tile[href="/?camera={name}"]')
            return found[0] if found else None

        def picture(name: str) -> int:
            return int(tile(name).find_element(By.TAG_NAME, "img").get_property("naturalWidth"))

        until(lambda: all(map(tile, ("front", "hall", "yard"))))
        until(lambda: picture("front") and picture("hall"))
        until(lambda: "offline" in tile("yard").text)
        # Keys go from tile to tile, and Enter opens the one that has the focus.
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        assert driver.switch_to.active_element == tile("hall")
        tile("front").click()
        until(lambda: driver.find_element(By.ID, "name").text == "front")
        until(lambda: "door" in driver.find_element(By.ID, "toml").get_property("value"))
        until(lambda: len(driver.find_elements(By.CSS_SELECTOR, "#cameras a")) == 4)
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT)
        until(lambda: driver.find_element(By.ID, "name").text == "hall")
        # A control reaches the camera that is shown, and no other.
        driver.find_element(By.ID, "pause").click()
        until(lambda: json.loads(read(f"{house}/api/state?camera=hall"))["telemetry"]["paused"])
        assert not json.loads(read(f"{house}/api/state?camera=front"))["telemetry"]["paused"]
        driver.find_element(By.ID, "pause").click()
        until(lambda: len(driver.find_elements(By.CSS_SELECTOR, "#cameras a")) == 4)
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
        until(lambda: tile("hall"))
        errors = [e for e in driver.get_log("browser") if "503" not in e["message"]]
        assert not [e for e in errors if e["level"] == "SEVERE"], errors
