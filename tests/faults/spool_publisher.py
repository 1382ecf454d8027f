"""A process that publishes events through the MQTT sink and is killed, or asked to stop.

    python spool_publisher.py URL NUMBER AFTER_S

Prints ``boot ID``, then ``kept N`` whenever more of its own events are on the disk, and
``waits N`` for how many of any run wait. It ends on SIGTERM, as edgecam does.
"""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import threading
import time

from edgecam.core.events import Event
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink


def wave(number: int) -> Event:
    attributes = {"n": number}
    return Event("wave", 0, 0.0, time.time(), 0.0, 0.0, 3, "person", 0.9, None, attributes)


def main() -> None:
    url, number, after_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    boot_id = secrets.token_hex(4)
    sink = MqttSink(MqttSettings(url=url, spool_after_s=after_s), "front", boot_id)
    spool = sink.status().spool
    others = 0 if spool is None else spool.events
    print(f"boot {boot_id}", flush=True)
    reported, published = "", 0
    while not stop.is_set():
        if published < number:
            sink.publish_event(wave(published))
            published += 1
        status = sink.status()
        kept = 0 if status.spool is None else status.spool.events - others
        line = f"kept {kept}\nwaits {status.outbox_messages}"
        if line != reported:
            print(line, flush=True)
            reported = line
        stop.wait(0.002 if published < number else 0.05)
    sink.close()
    print("closed", flush=True)


main()
