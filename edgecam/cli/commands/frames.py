"""``edgecam frames``: a thin camera, which publishes its pictures and infers nothing."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.option_types import Number
from edgecam.cli.options import CONFIG_OPTION, FLAG_NAMES, given
from edgecam.core.errors import SettingsError, SinkError
from edgecam.core.printable import say
from edgecam.settings.load import load

if TYPE_CHECKING:
    from edgecam.core.protocols import Source
    from edgecam.mqtt.frame_publisher import PicturePublisher
    from edgecam.settings.schema import Settings


@click.command("frames")
@CONFIG_OPTION
@click.option("-s", "--source", help="Camera index, rtsp://, http://, picamera, file, folder.")
@click.option("--realtime", is_flag=True, help="Play a file at its own rate, as if live.")
@click.option("--loop", is_flag=True, help="Begin a file again at its end, for ever.")
@click.option("--wait-for-source", is_flag=True, help="Start without the camera, wait for it.")
@click.option("-n", "--name", help="Camera name in the topic.  [default: camera]")
@click.option("-b", "--broker", help="mqtt://HOST:1883 or mqtts://HOST:8883, of MQTT 5.")
@click.option("--username", help="User at the broker.")
@click.option("--password-file", help="File with the broker's password.")
@click.option("--max-frames", help="Stop after this many frames.")
@click.option("--topic", help="Where to publish.  [default: edgecam/NAME/frame]")
@click.option("--rate-hz", type=Number(0.01, 60), default=5.0, show_default=True)
@click.option("--width", type=click.IntRange(16, 16384), default=640, show_default=True)
@click.option("--quality", type=click.IntRange(1, 100), default=80, show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config: Path | None,
    topic: str | None,
    rate_hz: float,
    width: int,
    quality: int,
    **_: Any,
) -> None:
    """Publish the pictures of a camera as JPEG, for an edgecam elsewhere to look at.

    There, on any number of machines: edgecam --model posenet --name worker1 --broker mqtt://HOST
    --source 'mqtt://HOST/edgecam/+/frame'. Needs no TFLite runtime here.
    """
    from edgecam.cli import log
    from edgecam.messages.topics import Topics
    from edgecam.mqtt.address import parse_url, tls_context
    from edgecam.mqtt.frame_publisher import PicturePublisher
    from edgecam.mqtt.login import login
    from edgecam.sources import open_source

    settings = load(config, os.environ, given(ctx), FLAG_NAMES)
    log.set_up(verbose=False)
    if settings.mqtt.url is None:
        raise SettingsError("mqtt.url: expected --broker mqtt://HOST, found nothing")
    address = parse_url(settings.mqtt.url)
    publisher = PicturePublisher(
        address,
        login(settings.mqtt, f"edgecam-camera-{secrets.token_hex(4)}", None),
        tls_context(settings.mqtt) if address.tls else None,
        topic or Topics(settings.name).frame,
        1.0 / rate_hz,
    )
    source = open_source(settings.source, mqtt=settings.mqtt)
    publisher.start()
    try:
        _publish(settings, source, publisher, rate_hz, (width, quality))
    finally:
        source.close()
        publisher.stop()
    published = publisher.counters().get("published", 0)
    if not published and publisher.reason is not None:
        raise SinkError(f"no picture was published: {publisher.reason}")
    say(f"{published} pictures published", err=True)


def _publish(
    settings: Settings,
    source: Source,
    publisher: PicturePublisher,
    rate_hz: float,
    shape: tuple[int, int],
) -> None:
    import signal

    from edgecam.core.opencv import cv2
    from edgecam.core.rate_limit import RateLimit
    from edgecam.mqtt.broker import BROKER_WAIT_S
    from edgecam.sinks.render.snapshot import jpeg, shown_size

    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        del number, frame
        stop.set()
        source.close()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    limit, sent = RateLimit(rate_hz), 0
    if not source.live:
        publisher.connected.wait(BROKER_WAIT_S)
    for frame in source.frames():
        if stop.is_set() or sent == settings.max_frames:
            break
        if limit.holds(frame.time_s):
            continue
        size = shown_size(frame.width_px, frame.height_px, shape[0])
        image = frame.image
        if size != (frame.width_px, frame.height_px):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        publisher.offer(jpeg(image, shape[1]), frame.sequence, frame.captured_unix_s)
        sent += 1
        if not source.live:
            # A recording has no clock of its own: its pictures go as fast as they are wanted.
            stop.wait(1.0 / rate_hz)
