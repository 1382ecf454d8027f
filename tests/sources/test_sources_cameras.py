"""Local cameras: refused in one line, followed through by-id links, picamera2 called rightly."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from programs import environment

from edgecam.core.errors import SourceError
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.camera import CameraEndpoint
from edgecam.sources.live import LiveSource
from edgecam.sources.picamera import PicameraEndpoint, widest_mode
from edgecam.sources.supervised import StreamError
from tests.servers.viewer import wait_for

PICAMERA2 = "picamera2==0.3.38"


@pytest.mark.parametrize("url", ["97", "/dev/video97", "/dev/v4l/by-id/usb-none-index0"])
def test_missing_camera_is_refused_in_one_line_and_quietly(url: str) -> None:
    code = (
        "import sys; from edgecam.sources import open_source\n"
        "from edgecam.settings.schema import SourceSettings\n"
        "from edgecam.core.errors import SourceError\n"
        "try:\n"
        "    open_source(SourceSettings(url=sys.argv[1]))\n"
        "except SourceError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, url]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert run.stdout.count("\n") == 1
    assert "no such camera; there is " in run.stdout


def test_device_that_is_no_camera_is_refused() -> None:
    with pytest.raises(SourceError, match="does not open as a camera"):
        open_source(SourceSettings(url="/dev/null"))


def test_device_without_permission_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "video0"
    device.touch()
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    with pytest.raises(StreamError, match="group video"):
        CameraEndpoint(SourceSettings(url=str(device))).probe()


def test_picamera_without_picamera2_names_both_remedies() -> None:
    with pytest.raises(SourceError) as caught:
        open_source(SourceSettings(url="picamera"))
    assert "python3-picamera2" in str(caught.value)
    assert "--system-site-packages" in str(caught.value)
    assert "edgecam[pi]" in str(caught.value)
    with pytest.raises(SourceError, match="expected picamera or picamera:INDEX"):
        open_source(SourceSettings(url="picamera:front"))


@pytest.fixture(scope="module")
def picamera2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real package picamera2: as installed here, else from the registry."""
    found = importlib.util.find_spec("picamera2")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent.parent
    folder = tmp_path_factory.mktemp("picamera2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), PICAMERA2]
    subprocess.run(command, capture_output=True, check=False, timeout=120)
    wheels = list(folder.glob("picamera2-*.whl"))
    if not wheels:
        pytest.skip(f"{PICAMERA2} is not installed, nor can it be downloaded from the registry")
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def signatures(picamera2: Path) -> dict[str, ast.FunctionDef]:
    """The methods of the real Picamera2 class, read from its source and never imported."""
    tree = ast.parse((picamera2 / "picamera2" / "picamera2.py").read_text("utf-8"))
    body = next(
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Picamera2"
    )
    # The last definition is the real one; those before it are overloads for type checkers.
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


class Checked:
    """A Picamera2 that accepts what the real class's signatures accept, and records it."""

    def __init__(
        self, signatures: dict[str, ast.FunctionDef], controls: tuple[str, ...] = ()
    ) -> None:
        self._signatures = signatures
        self.camera_controls = dict.fromkeys(controls, (0, 2, 0))
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.sensor_modes = [
            {
                "size": (640, 480),
                "bit_depth": 10,
                "fps": 200.0,
                "crop_limits": (1000, 752, 1280, 960),
            },
            {"size": (1640, 1232), "bit_depth": 10, "fps": 41.8, "crop_limits": (0, 0, 3280, 2464)},
            {"size": (3280, 2464), "bit_depth": 10, "fps": 21.2, "crop_limits": (0, 0, 3280, 2464)},
        ]

    def __call__(self, *arguments: Any, **named: Any) -> Checked:
        self._check("__init__", arguments, named)
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._check(name, arguments, named)
            if name == "global_camera_info":
                return [{"Num": 0}]
            if name == "capture_array":
                return np.zeros((480, 640, 3), np.uint8)
            return {"made by": name}

        return call

    def _check(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        definition = self._signatures[name]
        decorators = [ast.unparse(decorator) for decorator in definition.decorator_list]
        bound = 0 if "staticmethod" in decorators else 1
        parameters = [parameter.arg for parameter in definition.args.args][bound:]
        assert len(arguments) <= len(parameters), name
        assert set(named) <= set(parameters[len(arguments) :]), name
        self.calls.append((name, arguments, named))


def test_picamera2_is_called_as_its_real_signatures_want(
    signatures: dict[str, ast.FunctionDef],
) -> None:
    camera = Checked(signatures)
    settings = SourceSettings(url="picamera", width_px=640, height_px=480, rate_hz=30.0)
    endpoint = PicameraEndpoint(camera, 0, settings)
    endpoint.probe()
    capture = endpoint.open(lambda _: None)
    assert capture.read().shape == (480, 640, 3)
    capture.close()
    calls = {name: (arguments, named) for name, arguments, named in camera.calls}
    made = calls["create_video_configuration"][1]
    assert made["main"] == {"size": (640, 480), "format": "RGB888"}
    assert made["sensor"] == {"output_size": (1640, 1232), "bit_depth": 10}
    assert calls["configure"][0] == ({"made by": "create_video_configuration"},)
    assert calls["capture_array"][1] == {"wait": settings.read_timeout_s}
    order = [name for name, *_ in camera.calls]
    assert order[-2:] == ["cancel_all_and_flush", "close"]
    assert {"sensor_modes", "camera_controls"} <= signatures.keys()  # properties there
    assert made["controls"] == {"FrameRate": 30.0}
    assert "transform" not in made
    assert "set_controls" not in calls


@pytest.mark.parametrize(
    ("autofocus", "mode", "starts"), [("off", 0, 0), ("once", 1, 1), ("continuous", 2, 0)]
)
def test_picamera_lens_moves_only_where_that_is_asked(
    signatures: dict[str, ast.FunctionDef], autofocus: str, mode: int, starts: int
) -> None:
    camera = Checked(signatures, ("AfMode", "LensPosition"))
    settings = msgspec.convert({"url": "picamera", "autofocus": autofocus}, SourceSettings)
    PicameraEndpoint(camera, 0, settings).open(lambda _: None)
    made = [named for name, _, named in camera.calls if name == "create_video_configuration"]
    assert made[0]["controls"] == {"AfMode": mode}
    focusing = [given for name, given, _ in camera.calls if name == "set_controls"]
    assert focusing == [({"AfTrigger": 0},)] * starts


@pytest.mark.parametrize(
    ("rotate", "mirror", "flips"),
    [
        (0, False, None),
        (180, False, (1, 1)),
        (0, True, (1, 0)),
        (180, True, (0, 1)),
        (90, True, None),
    ],
)
def test_picamera_sensor_turns_and_mirrors_what_it_can(
    signatures: dict[str, ast.FunctionDef],
    monkeypatch: pytest.MonkeyPatch,
    rotate: int,
    mirror: bool,
    flips: tuple[int, int] | None,
) -> None:
    libcamera = types.ModuleType("libcamera")
    monkeypatch.setattr(libcamera, "Transform", lambda hflip, vflip: (hflip, vflip), raising=False)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    camera = Checked(signatures)
    settings = msgspec.convert({"rotate": rotate, "mirror": mirror}, SourceSettings)
    PicameraEndpoint(camera, 0, settings).open(lambda _: None)
    made = [named for name, _, named in camera.calls if name == "create_video_configuration"]
    assert made[0].get("transform") == flips


@pytest.mark.parametrize("fault", ["silent", "broken"])
def test_real_picamera2_that_stops_delivering_is_closed_and_opened_again(
    picamera2: Path, fault: str
) -> None:
    """Its ``stop()`` waits without end behind the capture that has no picture."""
    command = [sys.executable, str(Path(__file__).parents[1] / "picamera_story.py")]
    run = subprocess.run(
        [*command, str(picamera2), fault],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(),
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    reported = json.loads(run.stdout)
    assert reported["state"] == "online"
    assert "no picture for 0.5 s" in reported["reason"]


def test_picamera_index_that_is_not_there(signatures: dict[str, ast.FunctionDef]) -> None:
    endpoint = PicameraEndpoint(Checked(signatures), 1, SourceSettings(url="picamera:1"))
    with pytest.raises(StreamError, match="libcamera finds 1 camera"):
        endpoint.probe()


def test_widest_sensor_mode_is_taken_that_is_fast_enough() -> None:
    modes = Checked({}).sensor_modes
    assert widest_mode(modes, 0.0) == modes[1]
    assert widest_mode(modes, 100.0) == modes[0]
    assert widest_mode([{"format": "MJPEG"}], 30.0) is None


def test_by_id_link_is_followed_again_at_each_opening(tmp_path: Path) -> None:
    """No device here is a camera, but which one was opened shows in the refusal."""
    link = tmp_path / "usb-camera-index0"
    settings = SourceSettings(url=str(link), wait=True, backoff_min_s=0.2)
    source = LiveSource(CameraEndpoint(settings), settings)

    def reported(words: str) -> bool:
        return words in (source.status().reason or "")

    wait_for(lambda: reported("no such camera"))
    for device in ("/dev/null", "/dev/zero"):  # plugged in, then returned under another number
        link.unlink(missing_ok=True)
        link.symlink_to(device)
        wait_for(lambda: reported(f"{Path(link).readlink()} does not open"))
    link.unlink()
    wait_for(lambda: reported("no such camera"))
    source.close()
