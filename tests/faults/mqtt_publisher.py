"""A process that publishes events and results through the MQTT sink and reports its memory.

    python mqtt_publisher.py URL SECONDS EVENTS_HZ RESULTS_HZ PEOPLE KEEPALIVE_S

Prints ``event N`` for every tenth event, and one JSON object at its end.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

WARM_UP_S = 2.0
IMAGE = np.zeros((48, 64, 3), np.uint8)


def rss_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def result(sequence: int, people: int) -> Result:
    pose = Pose(0.9, np.full((17, 2), 123.4), np.full(17, 0.87))
    frame = Frame(IMAGE, sequence, time.monotonic(), time.time())
    return Result(frame, {"posenet": Decoded(poses=(pose,) * people)})


def wave(number: int) -> Event:
    attributes = {"n": number}
    return Event("wave", 0, 0.0, time.time(), 0.0, 0.0, 3, "person", 0.9, None, attributes)


def main() -> None:
    url = sys.argv[1]
    seconds, events_hz, results_hz = (float(text) for text in sys.argv[2:5])
    people, keepalive_s = int(sys.argv[5]), int(sys.argv[6])
    sink = MqttSink(MqttSettings(url=url, keepalive_s=keepalive_s), "front", "b00t")
    began_s = time.monotonic()
    events = results = 0
    base = peak = 0
    while (now_s := time.monotonic() - began_s) < seconds:
        while events <= now_s * events_hz:
            sink.publish_event(wave(events))
            events += 1
        while results_hz and results <= now_s * results_hz:
            sink.publish(result(results, people))
            results += 1
        if now_s > WARM_UP_S:
            base = base or rss_bytes()
            peak = max(peak, rss_bytes())
        time.sleep(0.01)
    end_s = time.monotonic() + 30
    while sink.status().outbox_messages and time.monotonic() < end_s:
        peak = max(peak, rss_bytes())
        time.sleep(0.05)
    sink.close()
    report = {
        "events": events,
        "results": results,
        "rss_growth_bytes": max(peak, rss_bytes()) - base,
        "counters": dict(sink.counters()),
    }
    print(json.dumps(report), flush=True)


main()
