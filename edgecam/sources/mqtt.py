"""Pictures by MQTT 5: many thin cameras publish JPEG, any number of workers share them.

The workers share one subscription (``$share/GROUP/FILTER``), so the broker gives each picture to
one of them; it asks for no order of ours. A worker acknowledges a picture once its result is
published. Until then it holds few, of each camera the newest: what a newer one overtakes is
acknowledged at once, so that nothing piles up at the broker, which would be lost with the worker.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame
from edgecam.core.protocols import be_idle
from edgecam.messages.label_names import slug
from edgecam.mqtt.address import Fault, tls_context
from edgecam.mqtt.frame_topics import AVAILABILITY, Delivered, PictureTopics, parse_source
from edgecam.mqtt.login import login
from edgecam.mqtt.opening import establish
from edgecam.mqtt.picture_connection import PictureConnection
from edgecam.mqtt.terms import BrokerMemory, Offer
from edgecam.settings.schema import MqttSettings, SourceSettings
from edgecam.sources.frozen_frame import Stillness
from edgecam.sources.jpeg import START_OF_IMAGE
from edgecam.sources.kinds import Opening
from edgecam.sources.picture import check_picture, decode_image
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.supervised import StreamError, SupervisedSource
from edgecam.sources.tcp_probe import connect
from edgecam.sources.worker_queue import Held, Picture

PROBE_TIMEOUT_S = 1.0
STEP_S = 0.5
# Pictures on their way: acknowledged but not yet let go of by the broker, or being decoded.
ON_THE_WAY = 2
# The broker keeps to itself what is larger still, uncounted: it must not fill the memory here.
PACKET_SHARE = 4
KINDS = {"login": "unauthorised", "tls": "rejected", "handshake": "rejected"}

log = logging.getLogger(__name__)


class _Broker:
    """Where the pictures are."""

    def __init__(self, topics: PictureTopics) -> None:
        self.description = f"{topics.address}/{topics.subscription}"
        self._address = topics.address

    def probe(self) -> None:
        connect(self._address, PROBE_TIMEOUT_S).close()

    def recheck(self) -> None:
        self.probe()


class MqttSource(SupervisedSource):
    """The newest picture of every camera under a topic filter, in turn.

    Raises:
        SettingsError: a certificate or the password file is no use.
        SourceError: it does not open and need not be waited for.
    """

    def __init__(
        self,
        topics: PictureTopics,
        settings: SourceSettings,
        mqtt: MqttSettings,
        stop: threading.Event | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._topics = topics
        self._window = settings.hold_frames
        self._max_bytes = mqtt.max_payload_bytes
        self._max_pixels = max_pixels(settings, live=True)
        self._login = login(mqtt, f"edgecam-frames-{secrets.token_hex(4)}", None, environment)
        self._context = tls_context(mqtt) if topics.address.tls else None
        self._held = Held(settings.hold_frames - ON_THE_WAY)
        self._still = Stillness(settings.frozen_after_s)
        self._to_acknowledge: deque[Picture] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._memory = BrokerMemory()
        self._connection: PictureConnection | None = None
        super().__init__(_Broker(topics), settings, stop)

    # The reader thread

    def _read(self) -> None:
        limit_s = self._settings.open_timeout_s
        connection = None
        try:
            connection = establish(
                self._topics.address,
                self._memory,
                self._connection_to,
                lambda connection: self._step(connection, 0.1),
                self._closed.is_set,
                (limit_s, limit_s),
            )
            self._connection = connection
            self._subscribe(connection, limit_s)
            self._is_open()
            while not self._closed.is_set() and connection.fault is None:
                self._acknowledge(connection)
                self._note_skipped(connection)
                self._step(connection, STEP_S)
        except StreamError:
            raise
        except Exception as error:
            # What a broken broker sends may break paho; the next connection is another one.
            log.exception("%s: unexpected error, connecting again", self.description)
            raise StreamError("internal", f"internal error: {error!r}") from None
        finally:
            if connection is not None:
                connection.finish()
        if connection.fault is not None:
            raise self._lost(connection.fault)

    def _connection_to(self, offer: Offer) -> PictureConnection:
        return PictureConnection(
            self._topics.address,
            self._login,
            self._context,
            self._take,
            self._note_error,
            offer,
            self._window,
            PACKET_SHARE * self._max_bytes,
        )

    def _subscribe(self, connection: PictureConnection, limit_s: float) -> None:
        deadline_s = time.monotonic() + limit_s
        if connection.established:
            connection.subscribe(self._topics.subscription, retained=False)
        while connection.fault is None and not connection.subscribed and not self._closed.is_set():
            if time.monotonic() > deadline_s:
                connection.give_up(Fault("network", "no answer to a subscription"))
            else:
                self._step(connection, 0.1)
        if connection.fault is not None:
            raise self._lost(connection.fault)

    def _note_skipped(self, connection: PictureConnection) -> None:
        while connection.skipped:
            skipped = connection.skipped.popleft()
            self._count("too_large")
            bound = PACKET_SHARE * self._max_bytes
            self._log.fault(
                "large",
                f"{self.description}: a message of {skipped.size_bytes} bytes is above "
                f"{PACKET_SHARE} x mqtt.max_payload_bytes ({bound}) and was not read",
            )

    def _lost(self, fault: Fault) -> StreamError:
        reason = fault.reason.removeprefix(f"{self._topics.address}: ")
        return StreamError(KINDS.get(fault.kind, "unreachable"), reason)

    def _step(self, connection: PictureConnection, timeout_s: float) -> None:
        connection.step(timeout_s, self._wake_read)
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _acknowledge(self, connection: PictureConnection) -> None:
        while self._to_acknowledge:
            picture = self._to_acknowledge.popleft()
            # What came by a connection that is lost can no longer be acknowledged.
            if picture.connection is connection and picture.number:
                connection.acknowledge(picture.number)

    def _note_error(self, error: BaseException) -> None:
        self._count("internal_errors")
        self._log.fault("message", f"{self.description}: a message was not understood: {error!r}")

    def _take(self, message: Delivered) -> None:
        """A message has come; on the reader thread."""
        if message.topic.endswith(AVAILABILITY):
            # A filter that ends in # takes in what a thin camera says of itself.
            self._acknowledge_unread(message)
            return
        now_s = time.monotonic()
        camera = slug(self._topics.camera(message.topic)) if self._topics.several else None
        stated_s = message.captured_unix_s
        with self._changed:
            number = message.sequence
            picture = Picture(
                camera,
                message.payload,
                self._delivered if number is None else number,
                now_s,
                time.time() if stated_s is None else stated_s,
                self._connection,
                message.number,
                # Whole seconds, of which the broker took off a part of one for a whole one.
                math.inf if message.expiry_s is None else now_s + message.expiry_s + 1.0,
            )
            kind = self._fault_of(message.payload)
            if kind is not None:
                self._counts[kind] += 1
                self._to_acknowledge.append(picture)
                return
            gone = self._held.put(picture)
            self._counts["overrun"] += len(gone)
            self._to_acknowledge.extend(gone)
            self._heard(now_s)

    def _acknowledge_unread(self, message: Delivered) -> None:
        picture = Picture(None, b"", 0, 0.0, 0.0, self._connection, message.number)
        self._to_acknowledge.append(picture)

    def _fault_of(self, payload: bytes) -> str | None:
        if len(payload) > self._max_bytes:
            return "too_large"
        if not payload.startswith(START_OF_IMAGE):
            return "damaged_pictures"
        try:
            check_picture(payload, self._max_pixels)
        except SourceError as error:
            self._log.fault("picture", f"{self.description}: {error}")
            return error.kind or "damaged_pictures"
        return None

    def _forget(self) -> None:
        self._still.forget()

    # The consumer

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield the picture that waits longest as soon as it is wanted, until closed."""
        while not self._closed.is_set():
            with self._changed:
                if gone := self._held.expire(time.monotonic()):
                    self._counts["expired"] += len(gone)
                    self._let_go(gone)
                picture = self._held.take()
                if picture is None:
                    self._changed.wait(0.25)
            if picture is None:
                self._notice_silence()
                idle()
                continue
            frame = self._decoded(picture)
            if frame is not None:
                yield frame

    def _decoded(self, picture: Picture) -> Frame | None:
        """Only now: most pictures of many cameras on a slow board are overtaken undecoded."""
        try:
            image = decode_image(picture.data, self._max_pixels)
        except SourceError:
            self._count("damaged_pictures")
            self._let_go([picture])
            return None
        frame = Frame(
            image,
            picture.sequence,
            picture.arrived_s,
            picture.captured_unix_s,
            camera=picture.camera,
        )
        with self._changed:
            self._held.begin(frame, picture)
            if picture.camera is None and self._state != "offline":
                self._set_frozen(self._still.seen(image, picture.arrived_s))
        return frame

    def _let_go(self, pictures: list[Picture]) -> None:
        self._to_acknowledge.extend(pictures)
        self._wake()

    def _wake(self) -> None:
        # Full means that it is awake already, closed that it has ended.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def release(self, frame: Frame) -> None:
        """Acknowledge a frame that is done with, and hand the next one out; from any thread."""
        with self._changed:
            gone = self._held.end(frame)
            self._changed.notify_all()
        self._let_go(gone)

    def close(self) -> None:
        """Stop from any thread; what is held and not acknowledged is lost."""
        self._closed.set()
        self._wake()
        super().close()
        if not self._reader.is_alive():
            self._wake_read.close()
            self._wake_write.close()


def open_mqtt(opening: Opening) -> MqttSource:
    """Subscribe to the pictures that a broker's URL names; errors as of ``MqttSource``."""
    topics = parse_source(opening.settings.url)
    return MqttSource(topics, opening.settings, opening.mqtt, opening.stop)
