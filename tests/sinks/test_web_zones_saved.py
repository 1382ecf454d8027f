"""Zones drawn in a real browser and saved: taken at once, there after a restart, and undone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from brokers import free_port, wait_until
from browsers import browser
from daemons import Daemon
from screens import click_at, element
from tiny_models import colour_classifier, write

TRIANGLE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8))
TEXT = '[[zone]]\nname = "given"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'
ONE = TEXT + '[source]\nurl = "{folder}/front.png"\nloop = true\n'
SEVERAL = (
    '[[camera]]\nname = "front"\nsource = {{url = "{folder}/front.png", loop = true}}\n'
    '[[camera]]\nname = "hall"\nsource = {{url = "{folder}/hall.png", loop = true}}\n'
)


def until(what: Callable[[], object]) -> None:
    assert wait_until(what, 30.0)


class Served:
    """A daemon with pictures for cameras, its page, and its state directory."""

    def __init__(self, folder: Path, cameras: str) -> None:
        self.folder, self.state = folder, folder / "state"
        model = write(folder / "colours.tflite", colour_classifier(labels=("r", "g", "b")))
        for name in ("front", "hall"):
            cv2.imwrite(str(folder / f"{name}.png"), np.zeros((96, 128, 3), np.uint8))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.config = folder / "house.toml"
        top = (
            f'[web]\nlisten = "{self.url[7:]}"\ncontrols = ["zones"]\n[[model]]\npath = "{model}"\n'
        )
        self.config.write_text(top + cameras.format(folder=folder))
        self.start()

    def start(self) -> None:
        self.daemon = Daemon(self.folder, "--config", self.config, XDG_STATE_HOME=str(self.state))
        self.daemon.wait_ready()

    def restart(self) -> None:
        self.daemon.close()
        os.unlink(self.daemon.supervisor.path)
        self.start()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.state.rglob("*.toml"))


def zones(driver: Any) -> list[str]:
    """The zones that the editor shows."""
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('#shapes input')].map(({value}) => value)"
    )
    return found


def opened(driver: Any, url: str) -> None:
    driver.get(url)
    until(lambda: driver.execute_script("return Number(picture.dataset.sequence || 0) > 0"))
    driver.find_element("css selector", "#editor summary").click()
    until(lambda: element(driver, "shapes-save").is_displayed())


def draw_and_save(driver: Any) -> None:
    assert not element(driver, "shapes-save").is_enabled()
    element(driver, "zone-new").click()
    click_at(driver, TRIANGLE)
    element(driver, "shape-done").click()
    until(element(driver, "shapes-save").is_enabled)
    element(driver, "shapes-save").click()
    until(lambda: element(driver, "shapes-saved").text == "Saved: this is what runs now.")


def errors(driver: Any) -> list[str]:
    found = [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    # Of the while in which there was no daemon.
    return [each for each in found if "ERR_CONNECTION_REFUSED" not in each]


def test_one_cameras_zones_are_saved_and_undone(tmp_path: Path) -> None:
    served = Served(tmp_path, ONE)
    try:
        with browser(tmp_path, 1280, 900) as driver:
            opened(driver, served.url)
            assert zones(driver) == ["given"]
            draw_and_save(driver)
            assert zones(driver) == ["given", "zone_1"]
            assert served.files() == ["camera.zones.before.toml", "camera.zones.toml"]
            assert not element(driver, "shapes-save").is_enabled()
            served.restart()
            opened(driver, served.url)
            until(lambda: zones(driver) == ["given", "zone_1"])
            element(driver, "shapes-unsave").click()
            until(lambda: element(driver, "shapes-saved").text == "Undone: this is what runs now.")
            assert zones(driver) == ["given"]
            assert served.files() == []
            assert not element(driver, "shapes-unsave").is_enabled()
            assert errors(driver) == []
        # The settings file is its owner's.
        assert "zone_1" not in served.config.read_text()
    finally:
        served.daemon.close()


def test_each_of_several_cameras_saves_its_own_and_the_other_runs_on(tmp_path: Path) -> None:
    served = Served(tmp_path, SEVERAL)

    def starts(camera: str) -> int:
        return served.daemon.log.count(f"camera name {camera}\n")

    try:
        until(lambda: starts("hall"))
        with browser(tmp_path, 1280, 900) as driver:
            opened(driver, f"{served.url}/?camera=hall")
            draw_and_save(driver)
            assert served.files() == ["hall.zones.before.toml", "hall.zones.toml"]
            assert (starts("front"), starts("hall")) == (1, 2)
            opened(driver, f"{served.url}/?camera=front")
            assert zones(driver) == []
            assert not element(driver, "shapes-unsave").is_enabled()
            assert errors(driver) == []
    finally:
        served.daemon.close()


@pytest.mark.parametrize("path", ["/zones/save", "/zones/undo"])
def test_nothing_is_saved_where_it_is_not_listed(path: str, near: Any) -> None:
    status, text = near.post(path, TEXT)
    assert status == 400
    assert "list zones in web.controls" in text
    assert near.ask("POST", path, TEXT, Origin=near.url)[0] == 403
    assert near.ask("POST", path, TEXT, X_Edgecam="1")[0] == 403
    evil = {"Origin": "http://evil.example", "X_Edgecam": "1"}
    assert near.ask("POST", path, TEXT, **evil)[0] == 403
