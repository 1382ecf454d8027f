"""What edgecam owes to cameras, each a check in an emulated machine with the kernel's own drivers.

The virtual camera is vivid; the USB camera is board_usb_camera.py behind vhci-hcd and uvcvideo.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from board_vm import EmulatedMachine

PYTHON = "/opt/edgecam/bin/python"
USB = "/dev/v4l/by-id/usb-Edgecam_Board_camera_0001-video-index0"

Check = Callable[[EmulatedMachine], None]
CAMERA_CHECKS: dict[str, Check] = {}


def check(body: Check) -> Check:
    CAMERA_CHECKS[body.__name__.replace("_", "-")] = body
    return body


def plug(machine: EmulatedMachine, options: str, port: int = 0) -> None:
    """Plug in a USB camera and wait for its node."""
    machine.run("modprobe vhci-hcd; modprobe uvcvideo").ok()
    machine.run(f"echo good > /run/mode{port}").ok()
    command = f"{PYTHON} /opt/board_usb_camera.py /run/mode{port} --port {port} {options}"
    machine.run(f"setsid {command} > /run/usb{port}.log 2>&1 < /dev/null &").ok()
    said = f"cat /run/usb{port}.log; dmesg | tail -5"
    try:
        machine.until(lambda: machine.run("ls /dev/v4l/by-id").code == 0, "the USB camera", 90)
    except AssertionError as error:
        raise AssertionError(f"{error}: {machine.run(said).text}") from None
    machine.run("udevadm settle")


def mode(machine: EmulatedMachine, word: str, port: int = 0) -> None:
    machine.run(f"echo {word} > /run/mode{port}").ok()


def look(machine: EmulatedMachine, url: str, *words: str) -> dict[str, Any]:
    """What a run of board_camera.py prints at its end."""
    asked = " ".join(words)
    said = machine.run(f"{PYTHON} /opt/board_camera.py {url} {asked} 2>&1", 200)
    lines = [line for line in said.text.splitlines() if line.startswith("{")]
    assert lines, f"no result: {said.text[-500:]}"
    found: dict[str, Any] = json.loads(lines[-1])
    found["log"] = [line for line in said.text.splitlines() if line.startswith("log:")]
    return found


def later(machine: EmulatedMachine, url: str, *words: str) -> None:
    """The same in the background; ``result`` waits for its end."""
    asked = " ".join(words)
    machine.run(
        f"setsid {PYTHON} /opt/board_camera.py {url} {asked} > /run/look 2>&1 < /dev/null &"
    ).ok()


def result(machine: EmulatedMachine, timeout_s: float = 200) -> dict[str, Any]:
    try:
        machine.until(lambda: "{" in machine.run("cat /run/look").text, "a result", timeout_s)
    except AssertionError as error:
        said = machine.run(
            "cat /run/look /run/usb0.log; ps aux | grep board_; dmesg | tail -5"
        ).text
        raise AssertionError(f"{error}: {said}") from None
    text = machine.run("cat /run/look").text
    found: dict[str, Any] = json.loads(next(x for x in text.splitlines() if x.startswith("{")))
    return found


def states(found: dict[str, Any]) -> list[str]:
    return [state for state, _ in found["states"]]


@check
def the_virtual_camera_gives_pictures(machine: EmulatedMachine) -> None:
    machine.run("modprobe vivid n_devs=1 node_types=0x1").ok()
    found = look(machine, "0", "--frames 5")
    assert found["frames"] >= 5, found


@check
def each_format_alone_gives_pictures(machine: EmulatedMachine) -> None:
    """YUYV, MJPG, NV12 and BGR3, the same picture: its mean tells wrong colours apart."""
    means = {}
    for port, name in enumerate(("yuyv", "mjpg", "nv12", "bgr3")):
        plug(machine, f"--format {name} --size 320x240 --serial 0001", port)
        found = look(machine, USB, "--frames 3")
        assert found["frames"] >= 3, f"{name}: {found}"
        assert found["sizes"] == ["320x240"], f"{name}: {found}"
        means[name] = found["mean"]
        mode(machine, "unplug", port)
        machine.until(lambda: machine.run("ls /dev/v4l/by-id").code != 0, "unplugged", 60)
    assert max(means.values()) - min(means.values()) < 6, means


@check
def a_size_that_it_has_is_taken_and_another_is_said(machine: EmulatedMachine) -> None:
    plug(machine, "--format yuyv --format mjpg --size 640x480 --size 1280x720 --rate 5")
    found = look(machine, USB, "--frames 3", "--set width_px=1280")
    assert found["sizes"] == ["1280x720"], found
    found = look(machine, USB, "--frames 3", "--set width_px=1000 --set height_px=700")
    assert found["frames"] >= 3, found
    assert any("1000 x 700" in line for line in found["log"]), found["log"]


@check
def doctor_lists_the_camera_and_not_its_metadata(machine: EmulatedMachine) -> None:
    plug(machine, "--format mjpg --size 640x480")
    nodes = machine.run("ls /dev/video*").text.split()
    assert len(nodes) == 2, f"a UVC camera has a node for pictures and one for metadata: {nodes}"
    said = machine.run("edgecam doctor --json camera").text
    assert "video-index1" not in said, said[-600:]
    assert "video-index0" in said or "/dev/video0" in said, said[-600:]


@check
def unplugged_and_plugged_under_another_number(machine: EmulatedMachine) -> None:
    plug(machine, "--format mjpg --size 320x240")
    later(machine, USB, "--frames 100000", "--seconds 90")
    machine.run("sleep 15")
    mode(machine, "unplug")
    machine.until(lambda: machine.run("ls /dev/v4l/by-id").code != 0, "unplugged", 60)
    machine.run("modprobe vivid n_devs=1 node_types=0x1").ok()
    plug(machine, "--format mjpg --size 320x240", 1)
    found = result(machine)
    heard = states(found)
    assert heard[-1] == "online", found["states"]
    assert "offline" in heard, found["states"]


@check
def a_mute_and_a_frozen_camera_are_reported(machine: EmulatedMachine) -> None:
    plug(machine, "--format mjpg --size 320x240")
    later(machine, USB, "--frames 100000", "--seconds 100", "--set frozen_after_s=5")
    machine.run("sleep 15")
    mode(machine, "freeze")
    machine.run("sleep 20")
    mode(machine, "good")
    machine.run("sleep 10")
    mode(machine, "mute")
    machine.run("sleep 25")
    mode(machine, "good")
    found = result(machine)
    heard = states(found)
    assert "frozen" in heard, found["states"]
    assert "offline" in heard, found["states"]
    assert heard[-1] == "online", found["states"]


@check
def pictures_cut_to_half_are_counted(machine: EmulatedMachine) -> None:
    plug(machine, "--format mjpg --size 640x480")
    mode(machine, "cut")
    found = look(machine, USB, "--frames 100000", "--seconds 20")
    assert found["frames"] == 0, found
    assert found["faults"].get("damaged_pictures", 0) > 0, found


@check
def a_busy_camera_is_one_line(machine: EmulatedMachine) -> None:
    plug(machine, "--format mjpg --size 320x240")
    later(machine, USB, "--frames 100000", "--seconds 60")
    machine.run("sleep 15")
    found = look(machine, USB, "--frames 1", "--seconds 20")
    assert "another program" in json.dumps(found), found


@check
def a_user_without_the_group_video_is_refused(machine: EmulatedMachine) -> None:
    machine.run("modprobe vivid n_devs=1 node_types=0x1; udevadm settle").ok()
    command = "/opt/edgecam/bin/edgecam doctor --json camera"
    said = machine.run(f"setpriv --reuid 1234 --regid 1234 --clear-groups {command}").text
    assert "-aG video" in said, said[-600:]
    assert said.count("no permission") == 1, said


@check
def the_unit_takes_a_camera_that_comes_later(machine: EmulatedMachine) -> None:
    """videodev is not loaded at start; the hardened unit may open the camera all the same."""
    assert "videodev" not in machine.run("lsmod").text
    machine.run("systemctl start mosquitto").ok()
    machine.run(
        "edgecam service install front --model posenet:input_size=65x65 --source 0"
        " --broker mqtt://127.0.0.1"
    ).ok()
    config = "/etc/edgecam/front.toml"
    more = "[inference]\\nthreads = 1\\nprobe = false\\n[telemetry]\\ninterval_s = 1\\n"
    machine.run(f"printf '{more}' >> {config}").ok()
    machine.run("systemctl start --no-block edgecam@front").ok()
    heard = "mosquitto_sub -h 127.0.0.1 -t edgecam/front/availability -C 1 -W 20"
    machine.run("sleep 20")
    machine.run("modprobe vivid n_devs=1 node_types=0x1").ok()
    try:
        machine.until(lambda: machine.run(heard).text.strip() == "online", "online", 300)
    except AssertionError as error:
        said = machine.run("journalctl -u edgecam@front -o cat --no-pager | tail -15").text
        raise AssertionError(f"{error}: {said}") from None
    said = machine.run("mosquitto_sub -h 127.0.0.1 -t edgecam/front/result -C 2 -W 120", 150).text
    assert len(said.splitlines()) == 2, said or machine.run("journalctl -u edgecam@front").text
