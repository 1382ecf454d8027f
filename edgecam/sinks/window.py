"""A window with skeletons, boxes, labels and fps; drawn on the main thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from edgecam.core.errors import SinkError
from edgecam.core.opencv import cv2
from edgecam.core.queues import Finished, Latest
from edgecam.core.result import Result
from edgecam.settings.schema import Settings
from edgecam.sinks.render.last_found import LastFound
from edgecam.sinks.render.overlay import draw

ESCAPE_KEYS = (27, ord("q"))
# Resizable, and without the toolbar that Qt builds of OpenCV add.
WINDOW_FLAGS = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
NO_DISPLAY = (
    "--show needs a display and found {found}; run it on the board's desktop, with "
    "`ssh -X`, or drop --show: see the picture in a browser with --web, follow the results with "
    "--jsonl - or --broker"
)


def _x_display_answers(display: str) -> bool:
    """Whether something listens there: Qt aborts the whole process where nothing does."""
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not number.isdigit():
        return False
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        addresses: list[str] = [path] if Path(path).exists() else []
        family, targets = socket.AF_UNIX, [f"\0{path}", *addresses]
        return any(_connects(family, target) for target in targets)
    try:
        with socket.create_connection((host, 6000 + int(number)), timeout=2):
            return True
    except OSError:
        return False


def _connects(family: int, target: str) -> bool:
    with socket.socket(family) as client:
        client.settimeout(2)
        try:
            client.connect(target)
        except OSError:
            return False
        return True


def _check_display(environment: Mapping[str, str]) -> None:
    if environment.get("WAYLAND_DISPLAY") or environment.get("QT_QPA_PLATFORM"):
        return
    display = environment.get("DISPLAY")
    if not display:
        raise SinkError(NO_DISPLAY.format(found="neither DISPLAY nor WAYLAND_DISPLAY"))
    if not _x_display_answers(display):
        raise SinkError(NO_DISPLAY.format(found=f"no X server at DISPLAY={display}"))


class Window:
    """Shows the newest result; older ones that were not drawn in time are skipped.

    Raises:
        SinkError: there is no display, or this OpenCV was built without windows.
    """

    def __init__(self, name: str) -> None:
        _check_display(os.environ)
        self._title = f"edgecam {name}"
        self._newest: Latest[Result] = Latest()
        self._last_found = LastFound()
        try:
            cv2.namedWindow(self._title, WINDOW_FLAGS)
        except cv2.error:
            raise SinkError(
                "--show needs an OpenCV with windows and found opencv-python-headless; run: "
                "pip uninstall opencv-python-headless && pip install opencv-python"
            ) from None
        self._sized = False

    def publish(self, result: Result) -> None:
        """Keep the result for the next drawing."""
        self._newest.put(self._last_found(result))

    def tick(self, caption: str, wait_ms: int) -> bool:
        """Draw what is new and handle the window's events; False once the person closed it."""
        try:
            result = self._newest.get(wait_ms / 1e3)
        except Finished:
            return False
        if result is not None:
            if not self._sized:
                cv2.resizeWindow(self._title, result.frame.width_px, result.frame.height_px)
                self._sized = True
            cv2.imshow(self._title, draw(result, caption))
        if cv2.waitKey(1) & 0xFF in ESCAPE_KEYS:
            return False
        return not self._sized or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``."""
        del boot_id

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {"window_skipped": self._newest.dropped}

    def close(self) -> None:
        """Close the window."""
        self._newest.abort()
        cv2.destroyAllWindows()


def open_sink(settings: Settings, boot_id: str) -> Window:
    """Open a window titled after the camera; raises SinkError."""
    del boot_id
    return Window(settings.name)
