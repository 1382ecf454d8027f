"""What the analysis remembers from frame to frame as plain data, exact to the last bit.

With it and the frames that follow, the same analysis says the same again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.absence import Absence
from edgecam.analysis.events.rule import Memory
from edgecam.analysis.intervals import Intervals
from edgecam.analysis.scene import Subject
from edgecam.analysis.smoothing import Filtered
from edgecam.analysis.tracker import Track
from edgecam.core.errors import SettingsError
from edgecam.core.keypoints import SKELETONS, Skeleton
from edgecam.core.result import Decoded, Detection, Pose

# What comes from a file may have any shape.
SHAPES = {
    "box": (4,),
    "first_box": (4,),
    "settled": (2,),
    "velocity": (2,),
    "corners": (4, 2),
}


# Of the keypoints of a skeleton: numbers for each.
_OF_KEYPOINTS = {"xy": (2,), "speed": (2,), "scores": (), "sure": ()}


def _skeleton_of(value: Any) -> Skeleton | None:
    """The skeleton that a pose names; None of anything else.

    Raises:
        ValueError: it is known to no decoder that is loaded here.
    """
    is_mapping = isinstance(value, Mapping)
    name = value.get("skeleton") if is_mapping else getattr(value, "skeleton", None)
    if name is None:
        return None
    if name not in SKELETONS:
        known = ", ".join(SKELETONS)
        raise ValueError(f"Expected a skeleton of {known}, found {name!r:.80}")
    return SKELETONS[name]


def _check_keypoints(name: str, part: Any, skeleton: Skeleton | None) -> None:
    counts = {len(each.names) for each in ([skeleton] if skeleton else SKELETONS.values())}
    shape = np.shape(part)
    if not shape or shape[0] not in counts or shape[1:] != _OF_KEYPOINTS[name]:
        expected = [(count, *_OF_KEYPOINTS[name]) for count in sorted(counts)]
        raise ValueError(f"Expected {name} of {expected[0]}, found {shape}")


def check_shapes(value: Any) -> None:
    """
    Raises:
        ValueError: an array in it, by the name of its field, is not of the shape it has to be.
    """
    if isinstance(value, list | tuple):
        for item in value:
            check_shapes(item)
        return
    names = getattr(value, "__dataclass_fields__", getattr(value, "__struct_fields__", ()))
    for name in value if isinstance(value, Mapping) else names:
        part = value[name] if isinstance(value, Mapping) else getattr(value, name)
        expected = SHAPES.get(name) if isinstance(part, list | np.ndarray) else None
        if isinstance(part, list | np.ndarray) and name in _OF_KEYPOINTS:
            _check_keypoints(name, part, _skeleton_of(value))
        elif expected is None:
            check_shapes(part)
        elif np.shape(part) != expected:
            raise ValueError(f"Expected {name} of {expected}, found {np.shape(part)}")


class TrackState(msgspec.Struct, frozen=True, kw_only=True):
    """One track of one model; it is that of a pose or of a detection."""

    model: str
    id: int | None
    pose: Pose | None = None
    detection: Detection | None = None
    box: NDArray[np.float64]
    first_s: float
    last_s: float
    hits: int
    velocity: NDArray[np.float64] | None = None
    waited_s: float = 0.0
    tallest_px: float = 0.0
    apart: int = 0
    first_box: NDArray[np.float64] | None = None
    settled: NDArray[np.float64] | None = None
    settled_s: float = 0.0
    turned_s: float | None = None
    gap_s: float = 0.0
    filtered: Filtered | None = None

    def track(self) -> Track:
        """
        Raises:
            SettingsError: it is the track of nothing.
        """
        item = self.pose or self.detection
        if item is None:
            raise SettingsError("expected the track of a pose or a detection, found neither")
        track = Track(self.id, item, self.box, self.first_s, self.last_s, self.hits, self.velocity)
        track.waited_s = self.waited_s
        track.tallest_px = max(track.tallest_px, self.tallest_px)
        track.apart = self.apart
        if self.first_box is not None:
            track.first_box = self.first_box
        if self.settled is not None:
            track.settled, track.settled_s = self.settled, self.settled_s
        track.turned_s, track.gap_s = self.turned_s, self.gap_s
        return track


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """All of it between two frames; ``memories`` is what each rule knows of each track.

    ``parts`` and ``subjects`` are what a frame that no model looks at repeats, ``last_s`` when
    the last frame was, ``looks`` when each model looked.
    """

    next_track: int = 1
    next_number: int = 0
    tracks: tuple[TrackState, ...] = ()
    last_s: float | None = None
    looks: Mapping[str, Intervals] = msgspec.field(default_factory=dict)
    parts: Mapping[str, Decoded] = msgspec.field(default_factory=dict)
    subjects: Mapping[str, Sequence[Subject]] = msgspec.field(default_factory=dict)
    memories: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)
    absences: tuple[Absence, ...] = ()


def track_state(model: str, track: Track, filtered: Filtered | None) -> TrackState:
    """Return what a checkpoint keeps of one track."""
    item = track.item
    return TrackState(
        model=model,
        id=track.id,
        pose=item if isinstance(item, Pose) else None,
        detection=item if isinstance(item, Detection) else None,
        box=track.box,
        first_s=track.first_s,
        last_s=track.last_s,
        hits=track.hits,
        velocity=track.velocity,
        waited_s=track.waited_s,
        tallest_px=track.tallest_px,
        apart=track.apart,
        first_box=track.first_box,
        settled=track.settled,
        settled_s=track.settled_s,
        turned_s=track.turned_s,
        gap_s=track.gap_s,
        filtered=filtered,
    )


def plain(value: Any) -> Any:
    """What JSON has no words for; for msgspec's ``enc_hook``."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, deque):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot be recorded")


def rebuilt(kind: type, value: Any) -> Any:
    """What ``plain`` made plain, as ``kind`` again; for msgspec's ``dec_hook``."""
    origin = get_origin(kind)
    if origin is np.ndarray:
        # NDArray[T] is ndarray[shape, dtype[T]].
        return np.array(value, get_args(get_args(kind)[1])[0])
    if origin is deque:
        return deque(msgspec.convert(value, list[get_args(kind)[0]], dec_hook=rebuilt))  # type: ignore[misc]
    raise TypeError(f"a {kind} cannot be read from a recording")


def remember(memory: Memory[Any]) -> dict[str, Any]:
    """A copy of what a rule knows, by track."""
    data: dict[str, Any] = msgspec.to_builtins(memory.states, str_keys=True, enc_hook=plain)
    return data


def recall(memory: Memory[Any], data: Mapping[str, Any]) -> None:
    """Put back what ``remember`` took.

    Raises:
        ValueError: it is of another kind.
    """
    shape: Any = dict[int, memory.make]  # type: ignore[name-defined]
    memory.states = msgspec.convert(data, shape, strict=False, dec_hook=rebuilt)
