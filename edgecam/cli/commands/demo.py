"""``edgecam demo``: the whole of edgecam on what it brings along, without a camera or network.

Three parties, as in a house: a broker, ``edgecam`` in a process of its own that publishes to it,
and here a subscriber. What is shown has gone over MQTT.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import IO

import click

from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say
from edgecam.core.redaction import shown
from edgecam.inference import catalog as bundled
from edgecam.mqtt.embedded_broker import EmbeddedBroker
from edgecam.mqtt.subscriber import Subscriber
from edgecam.settings.load import model_of
from edgecam.settings.schema import MqttSettings
from edgecam.sources.kinds import check as check_source
from edgecam.sources.kinds import kind_of
from edgecam.sources.local_path import DEMO
from edgecam.tools.fleet.instance import Snapshot, Watch

NAME = "demo"
PAGE_PORT = 8080
FAMILIES = ("posenet", "ssdlite")
TABLE_INTERVAL_S, LINE_INTERVAL_S = 0.25, 1.0
LAST_MESSAGE_S = 2.0
# Linux tells the process when we are gone, however we ended (PR_SET_PDEATHSIG is 1 in prctl.h).
_ENDS_WITH_US = (
    "import ctypes, os, runpy, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "parent = int(sys.argv.pop(1)); "
    # We may have gone before it could ask.
    "parent == os.getppid() or sys.exit(1); "
    "runpy.run_module('edgecam', run_name='__main__')"
)
# The process loads its models and says goodbye to the broker in less.
STOP_TIMEOUT_S = 10.0


def _default_models() -> list[str]:
    """The families of which there is a bundled model."""
    return [
        model
        for model in FAMILIES
        if any(model in card.aliases or model == card.name for card in bundled.cards())
    ]


def _opening(models: list[str], source: str, page: str | None, port: int) -> list[str]:
    """What runs, and where it can be seen."""
    seen = f"clip {bundled.clip().name}" if source == DEMO else f"source {shown(source)}"
    where = f"live page: http://{page}/"
    return [
        f"{seen}; models {', '.join(models)}",
        where if page else "no live page: pip install 'edgecam[web]' adds it",
        f"all messages: mosquitto_sub -h 127.0.0.1 -p {port} -v -t 'edgecam/#'",
    ]


def _arguments(models: list[str], source: str, url: str) -> list[str]:
    command = [sys.executable, "-c", _ENDS_WITH_US, str(os.getpid())]
    command += ["--name", NAME, "--broker", url, "--source", source]
    if not kind_of(source).live:
        command += ["--loop", "--realtime"]
    for model in models:
        command += ["--model", model]
    return command


def _page() -> str | None:
    """Where on loopback a live page can be served; None without what serves it."""
    if find_spec("aiohttp") is None:
        return None
    for port in (PAGE_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{probe.getsockname()[1]}"
    return None


@contextmanager
def _publisher(arguments: list[str], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run edgecam beside us; it is asked to stop, and given the time to say that it is offline."""
    environment = {**os.environ, "EDGECAM_TELEMETRY_INTERVAL_S": "1"}
    # In a session of its own: Ctrl-C is for us alone, who then stop things in order.
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _line(shown: Snapshot) -> str:
    if shown.people is None:
        return f"{shown.name}: {shown.available or 'starting'}"
    parts = [f"{shown.results} results", f"{shown.fps:.1f} fps", f"{shown.people} people"]
    parts += [f"{number} {label}" for label, number in shown.counts.items() if label != "person"]
    if shown.latency_ms is not None:
        parts.append(f"latency {shown.latency_ms:.0f} ms")
    return f"{shown.name}: " + ", ".join(parts)


def _follow_in_lines(watch: Watch, done: threading.Event, subscriber: Subscriber) -> None:
    while not done.wait(LINE_INTERVAL_S):
        subscriber.check()
        say(_line(watch.snapshot(time.monotonic())))


def _follow_in_table(watch: Watch, done: threading.Event, subscriber: Subscriber) -> None:
    from rich.live import Live

    from edgecam.tools.fleet.instance_table import table

    with Live(table(watch.snapshot(time.monotonic())), auto_refresh=False) as live:
        while not done.wait(TABLE_INTERVAL_S):
            subscriber.check()
            live.update(table(watch.snapshot(time.monotonic())), refresh=True)


def _until_done(watch: Watch, process: subprocess.Popen[bytes], subscriber: Subscriber) -> bool:
    """Show what arrives until the publisher has ended; False if Ctrl-C came before."""
    done = threading.Event()

    def wait() -> None:
        process.wait()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    follow = _follow_in_table if sys.stdout.isatty() else _follow_in_lines
    try:
        follow(watch, done, subscriber)
    except KeyboardInterrupt:
        return False
    return True


def _wait_for_the_last(watch: Watch) -> None:
    """Its last message says that it is gone: what it published before that has arrived, too."""
    until_s = time.monotonic() + LAST_MESSAGE_S
    while watch.snapshot(time.monotonic()).available != "offline" and time.monotonic() < until_s:
        time.sleep(0.02)


def _summary(watch: Watch, took_s: float) -> str:
    summary = watch.summary
    text = f"{summary.results} results published and received over MQTT in {took_s:.1f} s, "
    text += f"{summary.fewest} to {summary.most} people"
    if summary.latencies_ms:
        text += f", capture to publish {statistics.median(summary.latencies_ms):.0f} ms (median)"
    return text


@click.command("demo")
@click.option("-m", "--model", multiple=True, help="Another model than the bundled ones.")
@click.option("-s", "--source", default=DEMO, help="A camera or file in place of the clip.")
@click.option("--show", is_flag=True, help="Open a window with skeletons and boxes.")
@click.option("--max-frames", type=click.IntRange(min=1), help="Stop after this many frames.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of the broker. [default: a free one]")
def command(
    model: tuple[str, ...], source: str, show: bool, max_frames: int | None, port: int | None
) -> None:
    """Bundled clip, bundled models, embedded broker, live page and table; Ctrl-C ends it."""
    # Also where the parent ignores Ctrl-C, as a shell does for what runs in its background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    models = list(model) or _default_models()
    if not models:
        raise EdgecamError(f"no bundled models in {bundled.directory()}; install edgecam again")
    check_source(source)
    for name in models:
        bundled.resolve(model_of(name)[0])
    watch, page = Watch(NAME), _page()
    with EmbeddedBroker(port) as broker, tempfile.TemporaryFile() as errors:
        for line in _opening(models, source, page, broker.port):
            say(line)
        subscriber = Subscriber(
            MqttSettings(url=broker.url),
            (f"edgecam/{NAME}/#",),
            lambda topic, payload, _: watch.take(topic, payload, time.monotonic()),
        )
        started_s = time.monotonic()
        try:
            arguments = _arguments(models, source, broker.url)
            arguments += ["--web", page] if page else []
            arguments += ["--show"] if show else []
            arguments += ["--max-frames", str(max_frames)] if max_frames else []
            with _publisher(arguments, errors) as process:
                ended = _until_done(watch, process, subscriber)
            _wait_for_the_last(watch)
            took_s = time.monotonic() - started_s
        finally:
            subscriber.close()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()
    if not watch.summary.results and not ended:
        say("stopped before the first result")
        return
    if ended and (process.returncode or not watch.summary.results):
        if not said:
            raise EdgecamError("no result arrived")
        # The line of the process that ran the clip, whole as it is.
        for line in said.splitlines():
            say(line, err=True)
        raise SystemExit(1)
    say(_summary(watch, took_s))
