"""Region-of-interest control: skip frames without motion, crop to tracked people.

A motion gate leaves still frames out, a detector says where people are, and a pose model looks
at their surroundings alone. Each is optional.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgecam.core.errors import SettingsError
from edgecam.core.frame import Frame
from edgecam.core.keypoints import PERSON
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded, Result
from edgecam.inference.model import Model
from edgecam.pipeline.roi.inference_steps import Found, ModelRunner, PartialResult, Steps
from edgecam.pipeline.roi.motion_gate import MotionGate
from edgecam.pipeline.roi.person_crop import PersonTiles, Tile, scale_of
from edgecam.pipeline.roi.refining import refining
from edgecam.settings.scene import CropSettings
from edgecam.settings.schema import Settings


class PersonCrops:
    """A PoseNet that looks at the people whom it follows, and at the whole frame when it must.

    ``detector``: what says who is there in place of whole looks, or None.

    Raises:
        ModelError: the model does not take the small input.
    """

    def __init__(
        self, settings: CropSettings, whole: ModelRunner, detector: ModelRunner | None
    ) -> None:
        self._settings, self._whole, self._detector = settings, whole, detector
        self._small = ModelRunner(whole.place, whole.model.resized(settings.input_size))
        resizer = self._small.model.resizer
        size = (resizer.width_px, resizer.height_px)
        self._crop = PersonTiles(*size, settings.grow, settings.min_score)
        self._since_look = 0
        self._doubt = True
        self.has_lost_detector = self.has_lost_pose = False
        self.counts = Counter(dict.fromkeys(("crop_frames", "crop_whole_looks"), 0))

    def forget(self) -> None:
        """What comes next has nothing to do with what was."""
        self._crop.found((), (0, 0))

    def infer(self, frame: Frame, options: DecodeOptions, may_detect: bool) -> Steps[PartialResult]:
        """Look at parts of a frame, or at all of it; ``may_detect``: it is the detector's turn."""
        # One that failed is not waited for: the pose model looks in its place.
        waits = self._detector is not None and not may_detect and not self.has_lost_detector
        is_due = self._doubt or self.has_lost_pose
        is_due = is_due or self._since_look >= self._settings.look_every
        size_px = (frame.width_px, frame.height_px)
        follows = self._crop.follows(size_px) and (waits or not is_due)
        tiles = self._worthwhile(frame) if follows else []
        self._since_look += 1
        sight = PartialResult()
        if tiles:
            self.counts["crop_frames"] += 1
            sight.add(self._whole.name, (yield from self._at(tiles, frame, options)))
            return sight
        if waits:
            sight.found[self._whole.name] = Decoded()
            return sight
        self.counts["crop_whole_looks"] += 1
        self._since_look = 1
        if self._detector is not None and may_detect:
            yield from self._detected(self._detector, sight, frame, options)
        if self._detector is None or self.has_lost_detector:
            part = yield from self._whole.whole(frame, options)
            self.has_lost_pose = part is None
            if part is not None:
                self._crop.found(part[0].poses, size_px)
            sight.add(self._whole.name, part)
        self._doubt = False
        return sight

    def _worthwhile(self, frame: Frame) -> list[Tile]:
        """Where to look, or nothing where a whole look sees them as large."""
        tiles = self._crop.tiles()
        if self._detector is not None:
            return tiles
        whole = self._whole.model.resizer.fit(frame.width_px, frame.height_px)
        is_large = scale_of(tiles) >= self._settings.min_scale * min(whole.scale_x, whole.scale_y)
        return tiles if is_large else []

    def _at(
        self, tiles: Sequence[Tile], frame: Frame, options: DecodeOptions
    ) -> Steps[Found | None]:
        # A person may stand in the tile of another.
        both = replace(options, max_poses=2 * max(len(tiles), options.max_poses))
        part = yield from self._small.tiles(frame, tiles, both)
        self.has_lost_pose = part is None
        if part is None:
            return None
        poses, self._doubt = self._crop.seen(part[0].poses, tiles)
        return Decoded(poses=tuple(poses)), part[1]

    def _detected(
        self, look: ModelRunner, sight: PartialResult, frame: Frame, options: DecodeOptions
    ) -> Steps[None]:
        part = yield from look.whole(frame, options)
        sight.add(look.name, part)
        self.has_lost_detector = part is None
        if part is None:
            return
        boxes = [each.box for each in part[0].detections if each.label == PERSON]
        self._crop.expect(boxes, options.max_poses, (frame.width_px, frame.height_px))
        tiles = self._crop.tiles()
        if not tiles:
            sight.found[self._whole.name] = Decoded()
            return
        # A box without a pose is the detector's mistake more often than the pose model's.
        sight.add(self._whole.name, (yield from self._at(tiles, frame, options)))


class RoiController:
    """Looks at each frame in order, on one thread.

    Raises:
        SettingsError: the settings ask for a model that is not there.
        ModelError: the pose model does not take the small input.
    """

    def __init__(self, settings: Settings, models: Sequence[Model]) -> None:
        self._gate = MotionGate(settings.motion) if settings.motion.enabled else None
        runners = [ModelRunner(place, model) for place, model in enumerate(models)]
        self._looks = [each for each in runners if not each.model.refines]
        self._refining = refining(settings, runners)
        self._cropped: PersonCrops | None = None
        self._pose: ModelRunner | None = None
        self._detector: ModelRunner | None = None
        if settings.crop.enabled:
            self._pose = _pose_model(self._looks)
            if settings.crop.look == "detector":
                self._detector = _detector(self._looks)
            self._cropped = PersonCrops(settings.crop, self._pose, self._detector)
        self._counts = Counter(dict.fromkeys(("motion_looks", "motion_skips"), 0))

    @property
    def has_gate(self) -> bool:
        """Whether frames on which nothing moves are left out."""
        return self._gate is not None

    def infer(
        self, frame: Frame, may: Sequence[bool], options: DecodeOptions, live: bool = False
    ) -> Steps[Result]:
        """What the models find in a frame; ``repeated`` where none of them looked.

        ``may`` says which of them may look at it. ``live``: a frame that is late is lost.
        """
        # Pictures of a folder are no film: nothing is known of the next one.
        is_film = frame.media_time_s is not None or frame.file is None
        if self._gate is not None and is_film:
            is_open = self._gate.opens(frame)
            self._counts["motion_looks" if is_open else "motion_skips"] += 1
            if not is_open:
                waiting = frozenset(each.name for each in self._looks)
                return Result(frame, {}, repeated=True, waiting=waiting)
        if not is_film:
            self._forget()
        sight = PartialResult()
        leads = self._leads(may)
        for each in self._looks:
            if (each is self._detector and not leads) or not may[each.place]:
                continue
            if each is self._pose and self._cropped is not None:
                may_detect = self._detector is not None and may[self._detector.place]
                more = yield from self._cropped.infer(frame, options, may_detect)
                sight.found.update(more.found)
                sight.times.update(more.times)
            else:
                sight.add(each.name, (yield from each.whole(frame, options)))
        if self._refining is not None:
            yield from self._refining.add(sight, frame, may, live)
        result = Result(frame, sight.found, sight.times, waiting=self._waiting(sight))
        if self._gate is not None:
            self._gate.found(len(result.poses) + len(result.detections))
        return result

    def _forget(self) -> None:
        """What comes next has nothing to do with what was."""
        if self._cropped is not None:
            self._cropped.forget()
        if self._refining is not None:
            self._refining.forget()

    def _leads(self, may: Sequence[bool]) -> bool:
        """Whether the detector goes on by itself: the pose model failed and waits to be retried."""
        if self._cropped is None or self._pose is None:
            return False
        return self._cropped.has_lost_pose and not may[self._pose.place]

    def _waiting(self, sight: PartialResult) -> frozenset[str]:
        """The detector, while the people whom it found are followed."""
        if self._detector is None or self._detector.name in sight.found:
            return frozenset()
        if self._cropped is not None and self._cropped.has_lost_detector:
            return frozenset()
        return frozenset((self._detector.name,))

    def counters(self) -> Mapping[str, int]:
        """How many frames each stage looked at or left out."""
        found: dict[str, int] = {}
        if self._gate is not None:
            found.update(self._counts)
        if self._cropped is not None:
            found.update(self._cropped.counts)
        if self._refining is not None:
            found.update(self._refining.counts)
        return found


def _pose_model(looks: Sequence[ModelRunner]) -> ModelRunner:
    found = [
        look
        for look in looks
        if look.model.finds_poses and look.model.decoder.size_step is not None
    ]
    if len(found) != 1:
        raise SettingsError(
            f"[crop] expected one PoseNet, found {len(found)} among the models; "
            "only a PoseNet takes an input of another size"
        )
    return found[0]


def _detector(looks: Sequence[ModelRunner]) -> ModelRunner:
    found = next((look for look in looks if look.model.decoder.finds == "boxes"), None)
    if found is None:
        raise SettingsError(
            '[crop] look = "detector": expected an SSD among the models, found none; add one, '
            "such as --model ssdlite"
        )
    return found
