"""Many at once: instances on one machine, and a fleet of cameras on one broker.

Run by scripts/bench-many; scripts/bench takes its rows from here too.

instances: the sum of the frames per second of several replays that run at the same time, each a
process of its own, over those of one replay alone on the same cores; in turns, the median of the
rounds. Each counts the lines that it has written within the same span of time. Beside it stands the
ratio of the processor times that a frame cost: on cores that are all busy it is the same thing, and
other programs on the machine disturb it less.

fleet: simulated cameras, each with its own connection (the sink that edgecam itself uses), will and
retained states, publish a result (QoS 0) and an event (QoS 1) at a steady rate. A subscriber to all
of them, a process of its own, says what arrived.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_house import CLIP, ROOT, WARM_FRAMES, WARM_LIMIT_S, cpu_s, memory_mb

# Cameras that one process plays.
PER_PROCESS = 50


class Replay:
    """An edgecam that replays the clip without end, as a person starts it; counts its lines."""

    def __init__(self, model: str, more: Sequence[str]) -> None:
        command = [sys.executable, "-m", "edgecam", "--model", model, *more]
        command += ["--source", str(CLIP), "--loop", "--jsonl", "-"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.pipe = self.process.stdout.fileno()
        self.lines = 0

    def read(self) -> None:
        data = os.read(self.pipe, 1 << 20)
        if not data:
            raise SystemExit("bench-many: a replay has ended")
        self.lines += data.count(b"\n")


@dataclass(frozen=True)
class Counted:
    """Frames a second of each replay, and the processor milliseconds of a frame."""

    fps: list[float]
    cpu_ms: float


def run_together(number: int, model: str, more: Sequence[str], seconds: float) -> Counted:
    """``number`` replays at the same time, from when all are warm."""
    replays = [Replay(model, more) for _ in range(number)]
    try:
        with selectors.DefaultSelector() as selector:
            for replay in replays:
                selector.register(replay.pipe, selectors.EVENT_READ, replay)

            def drain(until_s: float, enough: bool) -> None:
                while (left_s := until_s - time.monotonic()) > 0:
                    for key, _ in selector.select(left_s):
                        key.data.read()
                    if enough and all(replay.lines >= WARM_FRAMES for replay in replays):
                        return

            drain(time.monotonic() + WARM_LIMIT_S, enough=True)
            before, began_s = [replay.lines for replay in replays], time.monotonic()
            cpu_before_s = sum(cpu_s(replay.process.pid) for replay in replays)
            drain(began_s + seconds, enough=False)
            took_s = time.monotonic() - began_s
            used_s = sum(cpu_s(replay.process.pid) for replay in replays) - cpu_before_s
        frames = [replay.lines - lines for replay, lines in zip(replays, before, strict=True)]
        return Counted([count / took_s for count in frames], used_s / sum(frames) * 1e3)
    finally:
        for replay in replays:
            replay.process.kill()
        for replay in replays:
            replay.process.communicate()


def instances(
    number: int, seconds: float, rounds: int, model: str, more: Sequence[str] = ()
) -> dict[str, Any]:
    """The sum of many against one, in turns."""
    alone: list[Counted] = []
    together: list[Counted] = []
    for turn in range(rounds):
        for many in (1, number) if turn % 2 == 0 else (number, 1):
            found = run_together(many, model, more, seconds)
            (alone if many == 1 else together).append(found)
    pairs = list(zip(alone, together, strict=True))
    ratios = [sum(many.fps) / sum(one.fps) for one, many in pairs]
    cpu_ratios = [one.cpu_ms / many.cpu_ms for one, many in pairs]
    return {
        "number": number,
        "model": model,
        "cores": len(os.sched_getaffinity(0)),
        "one_fps": round(statistics.median(sum(one.fps) for one in alone), 2),
        "sum_fps": round(statistics.median(sum(many.fps) for many in together), 2),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
        "cpu_ratios": [round(ratio, 3) for ratio in cpu_ratios],
        "cpu_ratio": round(statistics.median(cpu_ratios), 3),
        "slowest_of_fastest": round(
            statistics.median(min(many.fps) / max(many.fps) for many in together), 3
        ),
    }


# The fleet


def mosquitto_command() -> str | None:
    return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


@contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[int, int]]:
    """A mosquitto with its default limits; its port and process id."""
    from edgecam.mqtt.embedded_broker import free_port

    command = mosquitto_command()
    if command is None:
        raise SystemExit("bench-many: expected mosquitto; apt install mosquitto")
    port, config = free_port(), folder / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(f"{user}listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([command, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def part(*arguments: object) -> subprocess.Popen[str]:
    """This file as a camera process or the subscriber."""
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def said(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("bench-many: a part of the fleet has ended")
    return json.loads(line)


def tell(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def fleet(number: int, rate_hz: float, seconds: float) -> dict[str, Any]:
    """What was published, what arrived, and what broker and subscriber took for it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, broker = stack.enter_context(mosquitto(folder))
        subscriber = part("_subscribe", port)
        shares = [range(at, min(at + PER_PROCESS, number)) for at in range(0, number, PER_PROCESS)]
        cameras = [part("_publish", port, s.start, len(s), rate_hz, seconds) for s in shares]
        for process in (subscriber, *cameras):
            stack.callback(process.communicate)
            stack.callback(process.kill)
        for process in (subscriber, *cameras):
            said(process)
        watched = {"broker": broker, "subscriber": subscriber.pid}
        before, began_s = {who: cpu_s(pid) for who, pid in watched.items()}, time.monotonic()
        for process in cameras:
            tell(process, "go")
        sent = [said(process) for process in cameras]
        took_s = time.monotonic() - began_s
        load = {
            f"{who}_{key}": round(value, 1)
            for who, pid in watched.items()
            for key, value in (
                ("cpu_percent", (cpu_s(pid) - before[who]) / took_s * 100),
                ("rss_mb", memory_mb(pid)),
            )
        }
        events = sum(each["events"] for each in sent)
        tell(subscriber, json.dumps({"events": events}))
        found = said(subscriber)
        return {
            "number": number,
            "rate_hz": rate_hz,
            "seconds": round(took_s, 1),
            "events_published": events,
            "events_lost": events - found["events"],
            "events_twice": found["twice"],
            "results_published": sum(each["results"] for each in sent),
            "results_lost": sum(each["results"] for each in sent) - found["results"],
            "late_ticks": sum(each["late"] for each in sent),
            **load,
        }


def publish(port: int, first: int, number: int, rate_hz: float, seconds: float) -> None:
    """Cameras ``first`` and following, each through a sink of its own."""
    import numpy as np

    from edgecam.core.events import Event
    from edgecam.core.frame import Frame
    from edgecam.core.result import Decoded, Pose, Result
    from edgecam.settings.schema import MqttSettings
    from edgecam.sinks.mqtt.sink import MqttSink

    random = np.random.default_rng(first)
    image = np.zeros((480, 640, 3), np.uint8)
    poses = tuple(Pose(0.9, random.uniform(0, 480, (17, 2)), np.full(17, 0.9)) for _ in range(2))
    url = f"mqtt://127.0.0.1:{port}"
    names = [f"camera{place}" for place in range(first, first + number)]
    sinks = [MqttSink(MqttSettings(url=url, spool=False), name, "b00t", {}) for name in names]
    if not all(sink.wait_connected(60) for sink in sinks):
        raise SystemExit("bench-many: a camera finds no broker")
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    began_s, late, ticks = time.monotonic(), 0, int(rate_hz * seconds)
    for tick in range(ticks):
        for place, sink in enumerate(sinks):
            due_s = began_s + (tick + place / number) / rate_hz
            now_s = time.monotonic()
            time.sleep(max(0.0, due_s - now_s))
            late += now_s > due_s + 1.0 / rate_hz
            frame = Frame(image, tick, time.monotonic(), time.time())
            sink.publish(Result(frame, {"posenet": Decoded(poses=poses)}))
            sink.publish_event(Event("wave", 0, 0.0, time.time(), 0.0, 0.0, 1, "person", 0.9))
    until_s = time.monotonic() + 60.0
    while any(sink.status().outbox_messages for sink in sinks) and time.monotonic() < until_s:
        time.sleep(0.05)
    results = sum(dict(sink.counters()).get("mqtt_results_sent", 0) for sink in sinks)
    print(json.dumps({"events": ticks * number, "results": results, "late": late}), flush=True)
    for sink in sinks:
        sink.close(0.0)


def subscribe(port: int) -> None:
    """Everything of all cameras, at QoS 1."""
    import msgspec
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    class Numbered(msgspec.Struct):
        name: str
        sequence: int

    decoder = msgspec.json.Decoder(Numbered)
    events: set[tuple[str, int]] = set()
    counts = {"results": 0, "twice": 0}

    def received(_client: object, _data: object, message: Any) -> None:
        if message.topic.endswith("/result"):
            counts["results"] += 1
            return
        found = decoder.decode(message.payload)
        counts["twice"] += (found.name, found.sequence) in events
        events.add((found.name, found.sequence))

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = received
    client.on_subscribe = lambda *_: print(json.dumps("ready"), flush=True)
    client.on_connect = lambda *_: client.subscribe(
        [("edgecam/+/event", 1), ("edgecam/+/result", 1)]
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    expected = json.loads(sys.stdin.readline())["events"]
    until_s = time.monotonic() + 20.0
    while len(events) < expected and time.monotonic() < until_s:
        time.sleep(0.05)
    time.sleep(0.5)
    print(json.dumps({"events": len(events), **counts}), flush=True)
    client.disconnect()
    client.loop_stop()


def main() -> None:
    if sys.argv[1:2] == ["_publish"]:
        port, first, number, rate_hz, seconds = sys.argv[2:]
        publish(int(port), int(first), int(number), float(rate_hz), float(seconds))
        return
    if sys.argv[1:2] == ["_subscribe"]:
        subscribe(int(sys.argv[2]))
        return
    given = _arguments()
    if given.what == "plan":
        from benchmark_plan import measured, shown

        print(shown(measured(), given.rate_hz, given.memory_mb))
        return
    print(json.dumps(_found(given), indent=1))


def _found(given: argparse.Namespace) -> dict[str, Any]:
    if given.what == "fleet":
        return fleet(given.number, given.rate_hz, given.seconds)
    if given.what == "house":
        from benchmark_house import house

        return house(given.number, given.seconds, given.rounds, given.model, given.source)
    if given.what == "workers":
        from benchmark_workers import workers

        return workers(given.number, given.seconds, given.model)
    more = ["--input-size", given.input_size] if given.input_size else []
    return instances(given.number, given.seconds, given.rounds, given.model, more)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    for what, number, seconds in (("instances", 8, 10.0), ("house", 4, 10.0), ("workers", 4, 20.0)):
        command = commands.add_parser(what)
        command.add_argument("--number", type=int, default=number)
        command.add_argument("--seconds", type=float, default=seconds)
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--model", default="posenet")
        command.add_argument("--input-size")
        command.add_argument("--source", default=str(CLIP), help="a video, for each camera")
    cameras = commands.add_parser("fleet")
    cameras.add_argument("--number", type=int, default=200)
    cameras.add_argument("--rate-hz", type=float, default=5.0)
    cameras.add_argument("--seconds", type=float, default=60.0)
    boards = commands.add_parser("plan")
    boards.add_argument("--rate-hz", type=float, default=5.0, help="looks at each camera")
    boards.add_argument("--memory-mb", type=float, default=1000.0, help="of each board")
    return parser.parse_args()


if __name__ == "__main__":
    main()
