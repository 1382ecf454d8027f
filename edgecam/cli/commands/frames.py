"""``edgecam frames``: a thin camera, which publishes its pictures and infers nothing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import click

from edgecam.cli.option_types import Number
from edgecam.cli.options import CONFIG_OPTION, FLAG_NAMES, given
from edgecam.core.errors import SettingsError, SinkError
from edgecam.core.printable import say
from edgecam.settings.load import load


@click.command("frames")
@CONFIG_OPTION
@click.option("-s", "--source", help="Camera index, rtsp://, http://, picamera, file, folder.")
@click.option("--realtime", is_flag=True, help="Play a file at its own rate, as if live.")
@click.option("--loop", is_flag=True, help="Begin a file again at its end, without end.")
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
    from edgecam.daemon.stopping import Stop, stopped_by_signals
    from edgecam.daemon.systemd_notify import Notifier
    from edgecam.daemon.thin_camera import Pictures, ThinCamera
    from edgecam.messages.topics import Topics
    from edgecam.mqtt.address import parse_url, tls_context
    from edgecam.mqtt.frame_publisher import PicturePublisher
    from edgecam.mqtt.frame_topics import AVAILABILITY
    from edgecam.mqtt.login import login
    from edgecam.sources import open_source

    settings = load(config, os.environ, given(ctx), FLAG_NAMES)
    log.set_up(verbose=False)
    if settings.mqtt.url is None:
        raise SettingsError("mqtt.url: expected --broker mqtt://HOST, found nothing")
    if settings.source.mirror:
        raise SettingsError(
            "source.mirror: a JPEG does not say that it is mirrored; set it for the edgecam that "
            "looks at the pictures, and leave it out here"
        )
    address = parse_url(settings.mqtt.url)
    topic = topic or Topics(settings.name).frame
    publisher = PicturePublisher(
        address,
        login(settings.mqtt, f"edgecam-camera-{secrets.token_hex(4)}", topic + AVAILABILITY),
        tls_context(settings.mqtt) if address.tls else None,
        topic,
        1.0 / rate_hz,
    )
    stop = Stop()
    with stopped_by_signals(stop):
        source = open_source(settings.source, stop, settings.mqtt)
        pictures = Pictures(rate_hz, width, quality)
        camera = ThinCamera(source, publisher, pictures, Notifier(), settings)
        camera.run(stop)
    published = publisher.counters().get("published", 0)
    if not published and publisher.reason is not None:
        raise SinkError(f"no picture was published: {publisher.reason}")
    say(f"{published} pictures published", err=True)
