"""URLs as real cameras have them: nothing that edgecam prints or writes for all to read tells one.

The shapes are those of vendors' manuals, of public configurations and of questions in forums.
"""

from __future__ import annotations

import json
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from brokers import Mosquitto, Subscriber, free_port, wait_until
from daemons import Daemon
from forked import edgecams
from programs import edgecam, environment

USER, PASSWORD = "evamaria", "tlJwpbo6"
# {0}: user, {1}: password, {2}: host and port.
ACCEPTED = (
    # XM, Hi3518 and what is sold under a hundred names
    "rtsp://{2}/user={0}_password={1}_channel=1_stream=0.sdp?real_stream",
    "rtsp://{2}/user={0}_password={1}@x_channel=1_stream=0.sdp",
    "rtsp://{2}/user={0}&password={1}&channel=1&stream=0.sdp?",
    "rtsp://{0}:{1}@{2}/user={0}_password={1}_channel=1_stream=0.sdp",
    "rtsp://{2}/mode=real&idc=1&ids=1?passwd={1}",
    # Dahua, Amcrest, Hikvision, Uniview, Reolink, Tapo, Sonoff, UniFi, Milesight
    "rtsp://{0}:{1}@{2}/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif",
    "rtsp://{2}/cam/realmonitor?channel=1&subtype=1&authbasic={1}",
    "rtsp://{0}:{1}@{2}/Streaming/Channels/101?transportmode=unicast",
    "http://{0}:{1}@{2}/ISAPI/Streaming/channels/102/httpPreview",
    "rtsp://{2}/Streaming/tracks/1701?username={0}&password={1}",
    "rtsp://{0}:{1}@{2}/h264Preview_01_main",
    "http://{2}/cgi-bin/api.cgi?cmd=Snap&channel=0&rs=xyz&user={0}&password={1}",
    "http://{2}/flv?port=1935&app=bcs&stream=channel0_main.bcs&user={0}&password={1}",
    "rtsp://{0}:{1}@{2}/stream1",
    "rtsp://{0}:{1}@{2}/av_stream/ch0#backchannel=0",
    "rtsps://{2}/{1}?enableSrtp",
    # Foscam and its relatives
    "rtsp://{0}:{1}@{2}/videoMain",
    "http://{2}/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr={0}&pwd={1}",
    "http://{2}/cgi-bin/CGIProxy.fcgi&usr={0}&pwd={1}&cmd=snapPicture2",
    "http://{2}/cgi-bin/CGIProxy.fcgi?usr%3D{0}%26pwd%3D{1}%26cmd%3DsnapPicture2",
    "http://{2}/videostream.cgi?user={0}&pwd={1}&resolution=32",
    "http://{2}/snapshot.cgi?loginuse={0}&loginpas={1}",
    "http://{2}/cgi-bin/snapshot.cgi?chn=1&u={0}&p={1}",
    # Axis, ONVIF, HiSilicon, CamHi, CCTV recorders
    "rtsp://{0}:{1}@{2}/axis-media/media.amp?videocodec=h264",
    "http://{0}:{1}@{2}/axis-cgi/mjpg/video.cgi?resolution=640x480",
    "http://{0}:{1}@{2}/onvif/snapshot",
    "rtsp://{2}/11?usr={0}&psw={1}",
    "rtsp://{0}:{1}@{2}/ch0_0.264",
    "rtsp://{0}:{1}@{2}/chID=1&streamType=main&linkType=tcp",
    "rtsp://{2}/{0}:{1}/live",
    "rtsp://{2}/live/{0}/{1}/ch1",
    "rtsp://{2}/h264?username={0}&pw={1}",
    "http://{2}/nphMotionJpeg?Resolution=640x480&AUTH={1}",
    # Tokens of restreamers and clouds
    "http://{2}/img/video.mjpeg?jwt={1}",
    "http://{2}/api/stream.mjpeg?src=door&sig={1}&exp=1",
    "http://{2}/mjpeg?token={1}",
    "http://{2}/video?key={1}",
    "http://{2}/x?credential={1}",
    "http://{2}/x#password={1}",
    "http://{0}:%23%25%26{1}%40*@{2}/devices/snapshot",
    "rtsp://{0}:{1}!@{2}/live",
    "rtsp://@dmin:{1}@ssword@{2}/Streaming/channels/101",
    "rtmp://{2}/bcs/channel0_main.bcs?channel=0&stream=0&user={0}&password={1}",
)
# What people write before they learn what is to be escaped, and what edgecam cannot open.
REFUSED = (
    "rtsp://{0}:{1}!@#$%^&*()_-=+[]{{}}\\/,.:;'\"<>@{2}/cam/realmonitor?channel=1",
    "rtsp://{0}:{1}`~!@#$%^&*()-_;',.<>:\"\\{{\\}}\\[\\]@{2}/live",
    "rtsp://{0}:{1} {1}@{2}/live",
    "rtsp://{0}:12/{1}@{2}/live",
    "rtsp://{0}:{1}#{1}@{2}/",
    "rtsp://{0}:{1}{2}/profile1",
    "rtsp://{0}:{1}@",
    "rtsp:/{0}:{1}@{2}/live",
    "rtsp:{0}:{1}@{2}/live",
    "{0}:{1}@{2}/live",
    "srt://{2}?passphrase={1}",
    "onvif://{0}:{1}@{2}",
    "mqtt://{0}:{1}@{2}/edgecam/+/frame",
    "mqtt://{0}:{1}/{1}@{2}/edgecam/+/frame",
)


def url_of(shape: str, port: int) -> str:
    return shape.format(USER, PASSWORD, f"127.0.0.1:{port}")


def check_silent(url: str, *texts: str) -> None:
    for text in texts:
        reported = [line for line in text.splitlines() if USER in line or PASSWORD in line]
        assert not reported, (url, reported[0])
        assert "Traceback" not in text, (url, text)


def check_files(url: str, folder: Path) -> None:
    """Only files of mode 600 may tell."""
    for path in folder.rglob("*"):
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) != 0o600:
            check_silent(url, path.read_text("utf-8", "replace"))


def configuration(folder: Path, url: str, *more: str) -> Path:
    path = folder / "front.toml"
    lines = ["name = 'front'", "[[model]]", "path = 'posenet'", "[source]"]
    path.write_text("\n".join([*lines, f"url = {json.dumps(url)}", *more, ""]))
    return path


def test_doctor_and_service_install_tell_nothing_of_a_url(tmp_path: Path) -> None:
    port = free_port()
    shapes = [*ACCEPTED, *REFUSED]
    commands: list[tuple[object, ...]] = []
    # The other two look at the URL by the code that install looks at it with: some are enough.
    whole = range(0, len(shapes), 5)
    for number, shape in enumerate(shapes):
        folder = tmp_path / str(number)
        (folder / "root").mkdir(parents=True)
        url = url_of(shape, port)
        install = ("service", "install", "front", "--root", folder / "root", "--model", "posenet")
        commands.append((*install, "--source", url))
        if number in whole:
            config = configuration(folder, url)
            commands.append(("doctor", "source", "--json", "--config", config))
            commands.append(("--verbose", "--model", "posenet", "--source", url))
    done = iter(edgecams(commands, environment()))
    for number, shape in enumerate(shapes):
        url, root = url_of(shape, port), tmp_path / str(number) / "root"
        installed = next(done)
        runs = [next(done), next(done)] if number in whole else []
        for _, *texts in (installed, *runs):
            check_silent(url, *texts)
        check_files(url, root)
        assert [code for code, *_ in runs] == [1 for _ in runs], (url, runs)
        if runs:
            assert runs[1][2].count("edgecam: error: ") == 1, runs
        if shape in REFUSED:
            assert installed[0] == 1, url
            assert not list(root.iterdir()), url
            continue
        assert installed[0] == 0, (url, installed)
        secret = root / "etc/edgecam/front.env"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert PASSWORD in secret.read_text()
        if runs:
            for reported in (runs[0][1], runs[1][2]):
                assert f"127.0.0.1:{port}" in reported, "which camera it is"


@contextmanager
def running(folder: Path, url: str, broker: Mosquitto) -> Iterator[Daemon]:
    more = ("wait = true", "[mqtt]", f"url = '{broker.url}'", "[inference]", "threads = 1")
    config = configuration(folder, url, *more)
    daemon = Daemon(folder, "--verbose", "--config", config, EDGECAM_CACHE_DIR=str(folder / "c"))
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.mark.parametrize("shape", [ACCEPTED[0], ACCEPTED[13], ACCEPTED[17], ACCEPTED[30]])
def test_a_daemon_tells_nothing_of_its_cameras_url(
    make_mosquitto: object, tmp_path: Path, shape: str
) -> None:
    assert callable(make_mosquitto)
    broker = make_mosquitto()
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    port = free_port()
    url = url_of(shape, port)
    with running(tmp_path, url, broker) as daemon:
        daemon.wait_ready()
        daemon.wait_log(f"127.0.0.1:{port}")
        assert wait_until(lambda: subscriber.of("edgecam/front/telemetry"))
        status = edgecam("status", "--json", XDG_RUNTIME_DIR=str(tmp_path))
        line = edgecam("status", XDG_RUNTIME_DIR=str(tmp_path))
        daemon.send(signal.SIGHUP)
        daemon.wait_log("reading the configuration")
        assert daemon.stop()[0] == 0
        notified = "\n".join(text for _, text in daemon.supervisor.messages)
    messages = [f"{m.topic} {m.payload!r}" for m in subscriber.messages]
    subscriber.close()
    check_silent(url, daemon.log, notified, status.stdout, line.stdout, *messages)
    assert len(messages) > 2


def is_shown(listed: bytes) -> bool:
    """Whether a process list names the options, which it does not while the program starts."""
    return b"--wait" in listed and PASSWORD.encode() not in listed


def test_the_process_list_shows_scheme_host_and_port(tmp_path: Path) -> None:
    port = free_port()
    urls = [url_of(shape, port) for shape in ACCEPTED]
    option = f"--source={urls[0]}"
    daemon = Daemon(tmp_path, "--model", "posenet", option, "--wait-for-source", "--name", "x")
    try:
        listed = Path(f"/proc/{daemon.process.pid}/cmdline")
        # Empty while the program is being started.
        assert wait_until(lambda: is_shown(listed.read_bytes()))
        found = listed.read_bytes().split(b"\0")
        assert [word.rstrip() for word in found if word.startswith(b"--source")] == [
            f"--source=rtsp://127.0.0.1:{port}".encode()
        ]
        assert b"--wait-for-source" in found
        daemon.wait_ready()
        daemon.wait_log(f"rtsp://127.0.0.1:{port}: offline")
        check_silent(urls[0], daemon.log)
    finally:
        daemon.close()


def test_a_url_in_the_wrong_place_is_not_repeated() -> None:
    url = url_of(ACCEPTED[0], 554)
    commands = (
        [url],
        ["--model", "posenet", f"--loop={url}"],
        ["models", url],
        ["scan", "--x", url],
    )
    for code, out, err in edgecams(commands, environment()):
        assert code in (1, 2), err
        check_silent(url, out, err)


def test_a_taught_models_card_holds_no_url(capsys: pytest.CaptureFixture[str]) -> None:
    """The card beside a model says by which command it was made."""
    from edgecam.cli.commands.quantize import command_line

    @click.command("teach")
    @click.argument("where")
    @click.option("--labels")
    def teach(where: str, labels: str) -> None:
        assert where == url
        assert labels == "wave,none"
        click.echo(command_line())

    url = url_of(ACCEPTED[0], 554)
    teach.main([url, "--labels", "wave,none"], prog_name="edgecam teach", standalone_mode=False)
    assert capsys.readouterr().out == "edgecam teach rtsp://127.0.0.1:554 --labels wave,none\n"


def test_a_traceback_tells_no_url(capfd: pytest.CaptureFixture[str]) -> None:
    from edgecam.core.printable import print_traceback

    def fail() -> None:
        raise ValueError(f"cannot open {url_of(ACCEPTED[0], 554)}\nand so on\x1b[2J")

    thread = threading.Thread(target=fail)
    kept, threading.excepthook = threading.excepthook, lambda args: print_traceback(*args[:3])
    try:
        thread.start()
        thread.join()
    finally:
        threading.excepthook = kept
    reported = capfd.readouterr().err
    assert "ValueError: cannot open rtsp://127.0.0.1:554" in reported
    assert PASSWORD not in reported
    assert "\x1b" not in reported
