"""The settings of what is looked at, and of tracks, zones, masks and lines.

Places are fractions of the frame: (0, 0) is its upper left corner, (1, 1) its lower right one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from edgecam.core.rules import RULES
from edgecam.settings.section import Count, Fraction, Point, Seconds, Section, Size, Slug

# A place at the top may say which of several cameras it belongs to.
PLACES = ("zone", "mask", "line")
# What of a person or thing has to be inside a zone or a mask.
Inside = Literal["box_bottom", "box_centre", "ankle", "hips", "keypoint"]
if TYPE_CHECKING:
    Rule = str
else:
    Rule = Literal[tuple(RULES)]


class MotionSettings(Section, frozen=True):
    """Whether a frame is looked at: while something moves, and now and then besides.

    A frame that is not looked at has the result of the one before: nothing moved in between.
    """

    enabled: Annotated[bool, Meta(description="no model runs while nothing moves")] = False
    min_area: Annotated[
        Fraction, Meta(description="how much of the picture has to change to be movement")
    ] = 0.001
    min_contrast: Annotated[
        float, Meta(gt=0.0, le=255.0, description="grey levels by which a pixel has to change")
    ] = 6.0
    hold_s: Annotated[Seconds, Meta(description="looks at every frame so long after movement")] = (
        2.0
    )
    occupied_look_s: Annotated[
        Seconds, Meta(description="between two looks at a still picture with people")
    ] = 1.0
    empty_look_s: Annotated[
        Seconds, Meta(description="between two looks at a still picture without people")
    ] = 2.0


class CropSettings(Section, frozen=True):
    """A pose model that looks at the surroundings of those whom it follows; PoseNet only.

    All of them are put side by side into one input, smaller than that of the model. It looks at
    the whole frame at first, when a person is lost, and now and then to see who is new.
    """

    enabled: Annotated[bool, Meta(description="look at the people, not at the whole frame")] = False
    input_size: Annotated[
        Size, Meta(description="HEIGHTxWIDTH of the small input, sides 16n+1")
    ] = "257x209"
    look_every: Annotated[Count, Meta(description="frames from one whole look to the next")] = 20
    look: Annotated[
        Literal["pose", "detector"],
        Meta(description="which model sees who is there: the pose model, or the first SSD"),
    ] = "pose"
    grow: Annotated[
        float, Meta(ge=1.0, le=4.0, description="times the box around a person's keypoints")
    ] = 1.2
    min_score: Annotated[
        Fraction, Meta(description="a pose that scores less calls for a look at the whole frame")
    ] = 0.25
    refine_every: Annotated[
        Count, Meta(description="with refine: frames from one refined look at a person to the next")
    ] = 4
    min_scale: Annotated[
        float,
        Meta(ge=0.0, le=10.0, description="of the whole look's scale; smaller is not worth it"),
    ] = 0.75


class TrackingSettings(Section, frozen=True):
    """How poses and boxes keep their id from frame to frame."""

    enabled: Annotated[bool, Meta(description="give ids; without them there are no events")] = True
    smoothing: Annotated[bool, Meta(description="steady the keypoints of a track")] = True
    oks_gate: Annotated[Fraction, Meta(description="least keypoint similarity of a pose")] = 0.2
    iou_gate: Annotated[Fraction, Meta(description="least overlap of a box")] = 0.2
    distance_gate: Annotated[
        float,
        Meta(
            ge=0.0,
            le=10.0,
            description="for what overlaps too little: distance in box sizes; in proportion more "
            "where looks are more than 0.25 s apart",
        ),
    ] = 0.5
    max_age_s: Annotated[
        Seconds,
        Meta(description="how long a track outlives its last sight, and at least three looks"),
    ] = 1.0
    min_hits: Annotated[int, Meta(ge=1, le=100, description="looks that confirm a track")] = 3
    lost_hold_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=86400.0,
            description="how long one who is lost inside the picture is still there; 0 is off",
        ),
    ] = 60.0


class _Area(Section, frozen=True):
    """A named polygon; corners in fractions of the frame's width and height."""

    name: Annotated[Slug, Meta(description="name in topics and events, [a-z0-9_-]{1,64}")]
    polygon: Annotated[
        tuple[Point, ...],
        Meta(min_length=3, max_length=100, description="corners [x, y], 0..1 of the frame"),
    ]

    def __post_init__(self) -> None:
        after = (*self.polygon[1:], self.polygon[0])
        pairs = zip(self.polygon, after, strict=True)
        if abs(sum(x * v - u * y for (x, y), (u, v) in pairs)) < 1e-6:
            raise ValueError("Expected a polygon with an area")


class ZoneSettings(_Area, frozen=True):
    """Where to count and to tell who enters, stays and leaves; ``[[zone]]`` in TOML."""

    labels: Annotated[tuple[str, ...], Meta(description="whom it is for; empty is everybody")] = ()
    inside: Annotated[Inside, Meta(description="what has to be inside")] = "box_bottom"
    enter_s: Annotated[
        float, Meta(ge=0.0, le=3600.0, description="inside for so long has entered")
    ] = 0.3
    leave_s: Annotated[
        float, Meta(ge=0.0, le=3600.0, description="outside for so long has left")
    ] = 1.0
    dwell_s: Annotated[Seconds | None, Meta(description="inside for so long dwells")] = 30.0
    door: Annotated[
        bool, Meta(description="people come and go here: who is last seen in it has left")
    ] = False


class MaskSettings(_Area, frozen=True):
    """Where not to look, as at a sofa or a street; ``[[mask]]`` in TOML."""

    inside: Annotated[Inside, Meta(description="what has to be inside")] = "box_centre"
    excludes: Annotated[
        tuple[Rule | Literal["all"], ...],
        Meta(min_length=1, description="rules that are blind there; all drops what is found there"),
    ] = ("all",)


class LineSettings(Section, frozen=True):
    """A line that may be crossed; ``[[line]]`` in TOML."""

    name: Annotated[Slug, Meta(description="name in events, [a-z0-9_-]{1,64}")]
    start: Annotated[Point, Meta(description="[x, y], 0..1 of the frame")]
    end: Annotated[Point, Meta(description="[x, y], 0..1 of the frame")]
    labels: Annotated[tuple[str, ...], Meta(description="whom it is for; empty is everybody")] = ()
    crossed_by: Annotated[
        Literal["box_bottom", "box_centre", "hips", "wrist"], Meta(description="what crosses it")
    ] = "box_bottom"
    margin: Annotated[
        float,
        Meta(ge=0.0, le=0.5, description="how far beyond the line, of the frame's longer side"),
    ] = 0.01

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("Expected a line with two different ends")


class SceneSettings(Section, frozen=True):
    """How the camera hangs, where that is known: postures are known more surely by it."""

    pitch_degrees: Annotated[
        Annotated[float, Meta(ge=-45.0, le=90.0)] | None,
        Meta(description="degrees by which the camera looks down: 0 is level, 90 straight down"),
    ] = None
    height_m: Annotated[
        Annotated[float, Meta(gt=0.0, le=20.0)] | None,
        Meta(description="how high it hangs above the floor"),
    ] = None

    def __post_init__(self) -> None:
        if self.height_m is not None and self.pitch_degrees is None:
            raise ValueError("Expected pitch_degrees with height_m, found height_m alone")
