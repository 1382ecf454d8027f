"""The flight recorder: keeps the last seconds in memory, and writes them to disk on an event.

Nothing is written at any other time. A disk that is full or read-only costs the recording, which
is counted and reported, and nothing else.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from edgecam.analysis.analyzer import Analysis
from edgecam.core.errors import EdgecamError
from edgecam.core.events import Event
from edgecam.core.fault_log import FaultLog
from edgecam.core.places import obstacle
from edgecam.core.queues import Finished, Latest
from edgecam.core.result import Result
from edgecam.core.version import __version__
from edgecam.messages.telemetry import RecorderReport
from edgecam.settings.recorder import RecorderSettings
from edgecam.settings.schema import Settings
from edgecam.sinks.recorder.file import (
    SUFFIX,
    FrameRecord,
    Header,
    RuleSettings,
    encode,
    frame_record,
)
from edgecam.sinks.recorder.folder import Contents, Folder, place
from edgecam.sinks.recorder.ring_buffer import RingBuffer
from edgecam.sinks.render.snapshot import jpeg, picture

# Where events never end, a recording does: its last event is at most so long after its first.
MAX_SPAN_S = 60.0
# Frames may stop to come, as when the camera is lost: then this much later it is written anyway.
GRACE_S = 2.0
# Recordings that wait for a slow disk; beyond that they are lost, and counted. A file may come in
# faster than a camera, and then waits so long for them.
MAX_WAITING, PATIENCE_S = 2, 5.0
WAIT_S = 60.0
CLOSE_S = 3.0

log = logging.getLogger(__name__)


class _Pictures:
    """Makes JPEGs of results now and then, on a thread of its own."""

    def __init__(self, settings: RecorderSettings) -> None:
        self._settings = settings
        self._newest: Latest[tuple[float, Result]] = Latest()
        self._made: deque[tuple[float, int, bytes]] = deque()
        self._lock = threading.Lock()
        self._next_s = 0.0
        self.error: BaseException | None = None
        threading.Thread(target=self._work, name="recorder-pictures", daemon=True).start()

    @property
    def skipped(self) -> int:
        return self._newest.dropped

    def offer(self, result: Result, elapsed_s: float, begins_s: float) -> None:
        """Have one made of it if it is time; forget those from before ``begins_s``."""
        with self._lock:
            while self._made and self._made[0][0] < begins_s:
                self._made.popleft()
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + 1.0 / self._settings.picture_max_hz
            self._newest.put((elapsed_s, result))

    def of(self, frames: list[FrameRecord]) -> dict[int, bytes]:
        """Those of these frames, by sequence."""
        wanted = {record.sequence for record in frames}
        with self._lock:
            return {number: data for _, number, data in self._made if number in wanted}

    def _work(self) -> None:
        settings = self._settings
        try:
            while True:
                item = self._newest.get(WAIT_S)
                if item is not None:
                    image = picture(item[1], settings.pictures, settings.width_px)
                    data = jpeg(image, settings.quality)
                    with self._lock:
                        self._made.append((item[0], item[1].frame.sequence, data))
        except Finished:
            return
        except BaseException as error:  # noqa: BLE001 - handed to the publishing thread
            self.error = error

    def close(self) -> None:
        self._newest.abort()


@dataclass(slots=True)
class _Pending:
    """A recording under way: when it ends on the ring's clock, and at the latest on ours."""

    trigger: Event
    latest_s: float
    until_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class _Job:
    header: Header
    frames: list[FrameRecord]
    jpegs: dict[int, bytes]

    @property
    def file_name(self) -> str:
        event = self.header.trigger
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0.0, event.unix_s)))
        return f"{stamp}-{self.header.boot_id}-{event.number}-{event.event_type}{SUFFIX}"


class Recorder:
    """A sink that keeps what each event was made of: what ``analysis`` was shown, and what it knew.

    ``live``: who publishes must not wait for the disk.
    """

    def __init__(
        self,
        settings: Settings,
        boot_id: str,
        analysis: Analysis,
        live: bool,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._whole, self._settings = settings, settings.recorder
        self._boot_id, self._analysis, self._live = boot_id, analysis, live
        self._lock = threading.Lock()
        self._ring = RingBuffer(self._settings.before_s, analysis.checkpoint())
        self._pending: _Pending | None = None
        path = place(self._settings, settings.name, environment)
        self._folder = Folder(path, self._settings.max_files, self._settings.max_bytes)
        self._faults = FaultLog(log)
        self._written = self._lost = self._dropped = 0
        self._reason: str | None = None
        self._contents: Contents | None = None
        self._error: BaseException | None = None
        self._check_folder()
        self._pictures = _Pictures(self._settings) if self._settings.pictures != "off" else None
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def _check_folder(self) -> None:
        """How the folder is, before the first event has to be written."""
        reason = obstacle(self._folder.path)
        try:
            self._contents = self._folder.contents()
        except OSError as error:
            reason = reason or str(error)
        if reason is not None:
            self._fail(reason)

    def publish(self, result: Result) -> None:
        """Keep the result; an event makes a recording of what is kept and what follows.

        Raises:
            Exception: whatever writing or drawing raised that is no fault of the disk.
        """
        error = self._error or (self._pictures.error if self._pictures else None)
        if error is not None:
            raise error
        with self._lock:
            ring, record = self._ring, frame_record(result)
            ring.add(record, self._analysis.checkpoint, trim=self._pending is None)
            for event in record.events:
                if not self._settings.events or event.event_type in self._settings.events:
                    self._extend(event)
            if self._pictures is not None:
                self._pictures.offer(result, ring.elapsed_s, ring.begins_s)
            if self._pending is not None and ring.elapsed_s >= self._pending.until_s:
                self._hand_over(self._pending)

    def _extend(self, event: Event) -> None:
        """Begin a recording, or have the one under way last longer."""
        now_s, after_s = self._ring.elapsed_s, self._settings.after_s
        if self._pending is None:
            self._pending = _Pending(event, now_s + MAX_SPAN_S + after_s, 0.0, 0.0)
        self._pending.until_s = min(now_s + after_s, self._pending.latest_s)
        self._pending.deadline_s = time.monotonic() + after_s + GRACE_S

    def tick(self, now_s: float) -> None:
        """Call several times a second: a recording is written also if no frame comes any more."""
        with self._lock:
            if self._pending is not None and now_s >= self._pending.deadline_s:
                self._hand_over(self._pending)

    def _hand_over(self, pending: _Pending) -> None:
        self._pending = None
        checkpoint, frames = self._ring.contents()
        header = Header(
            edgecam=__version__,
            name=self._whole.name,
            boot_id=self._boot_id,
            trigger=pending.trigger,
            finds_poses=self._analysis.finds_poses,
            periods_s=self._analysis.periods_s,
            settings=RuleSettings.of(self._whole),
            checkpoint=checkpoint,
        )
        jpegs = self._pictures.of(frames) if self._pictures is not None else {}
        try:
            job = _Job(header, frames, jpegs)
            self._jobs.put(job, block=not self._live, timeout=PATIENCE_S)
        except queue.Full:
            self._lost += 1
            self._fail("the disk is too slow")

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                self._write(job)
        except BaseException as error:  # noqa: BLE001 - handed to the publishing thread
            self._error = error

    def _write(self, job: _Job) -> None:
        data, video = encode(job.header, job.frames, job.jpegs), self._video(job)
        try:
            contents = self._folder.add(job.file_name, data, video)
        except OSError as error:
            self._lost += 1
            self._fail(f"{self._folder.path}: {error.strerror or error}")
            return
        self._contents = contents
        self._written += 1
        self._dropped += contents.dropped
        self._reason = None
        self._faults.recovered("disk", f"recorder: {self._folder.path} takes recordings again")

    def _video(self, job: _Job) -> bytes:
        """The MP4 that is asked for; none where there is nothing to make it of."""
        kind = self._settings.video
        if kind == "off" or (kind == "pictures" and not job.jpegs):
            return b""
        # A run without videos does not load what writes them.
        from edgecam.sinks.recorder.video import mp4, pictures_of, stick_figures_of

        try:
            if kind == "pictures":
                return mp4(pictures_of(job.frames, job.jpegs))
            return mp4(stick_figures_of(job.frames, self._settings.width_px))
        except (EdgecamError, OSError) as error:
            # The recording itself is there without it.
            self._faults.fault("video", f"recorder: no video of this event: {error}")
            return b""

    def _fail(self, reason: str) -> None:
        self._reason = reason
        self._faults.fault("disk", f"recorder: cannot write recordings: {reason}")

    def report(self) -> RecorderReport:
        """How it is; the last write or, before it, a look at the folder tells."""
        contents, reason = self._contents, self._reason
        return RecorderReport(
            state="ready" if reason is None else "failing",
            reason=reason,
            files=None if contents is None else contents.files,
            bytes=None if contents is None else contents.size_bytes,
        )

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {
            "recordings_written": self._written,
            "recordings_lost": self._lost,
            "recordings_dropped": self._dropped,
            "recorder_pictures_skipped": self._pictures.skipped if self._pictures else 0,
        }

    def close(self) -> None:
        """Write what is under way, and wait for it a little."""
        with self._lock:
            if self._pending is not None:
                self._hand_over(self._pending)
        if not self._thread.is_alive():
            return
        try:
            self._jobs.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)
        if self._pictures is not None:
            self._pictures.close()
