"""PoseNet: which of a model's outputs is what, and which rules turn them into poses.

Outputs, in any order, on one grid of h x w cells: heatmaps [1, h, w, 17], offsets [1, h, w, 34],
and displacements, forward and backward [1, h, w, 32] each (the TensorFlow.js and
``multi_kpt_stripped`` layouts) or [1, h, w, 64] together (Coral's, with or without its decoder op).
Heatmaps are logits unless the model ends them in a sigmoid; everything else is input pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.keypoints import COCO, COUNT, EDGES, Skeleton
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders import posenet_tfjs
from edgecam.inference.decoders.family import (
    FamilyContext,
    FamilyDecoder,
    holds_probabilities,
    image_size,
)

LAYOUT = """\
PoseNet: heatmaps [1, h, w, 17], offsets [1, h, w, 34] and displacements, forward and backward
  [1, h, w, 32] each or [1, h, w, 64] together"""

STRIDES = (8, 16, 32)

# From this side on the aspect that PoseNet was trained on is worth more than the pixels that a
# letterbox takes away. AP on COCO pictures, MobileNet 0.75, stretched against letterboxed, by
# TensorFlow.js' and Coral's rules: 257x257 12.2/9.6 and 13.2/10.1, 321x433 20.8/20.0, 353x481
# 21.1/19.9 and 22.5/22.6 (Coral's uint8 model 15.9/18.2 and 17.0/21.2), 481x641 25.2/27.0 and
# 27.2/27.5.
_LETTERBOX_FROM_PX = 353

_HEATMAPS, _OFFSETS, _ONE_WAY, _BOTH_WAYS = COUNT, 2 * COUNT, 2 * len(EDGES), 4 * len(EDGES)
_FORWARD = re.compile(r"fwd|forward")
_BACKWARD = re.compile(r"bwd|backward")

# The least step between the sides that PoseNet was trained at.
SIDE_STEP = 16


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoseNet(FamilyDecoder):
    """Bound to one model; ``outputs`` are heatmaps, offsets and one or two displacements.

    ``rules``: tfjs or coral. ``probabilities``: the heatmaps went through a sigmoid already.
    ``fit``: what suits its input size. ``size_step``: sides of 16n+1 px as PoseNet was trained,
    or of its output stride if that is more.
    """

    stride: int
    probabilities: bool = False
    family: str = "posenet"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the people whose scores suffice, by the rules of ``rules``."""
        if not all(math.isfinite(float(tensor.sum())) for tensor in tensors):
            return Decoded()
        heatmaps, offsets, *displacements = (
            np.ascontiguousarray(tensor[0], np.float32) for tensor in tensors
        )
        if self.probabilities:
            inside = np.clip(heatmaps, np.float32(1e-7), np.float32(1.0 - 1e-7))
            heatmaps = np.log(inside / (1.0 - inside))
        decode = self._coral if self.rules == "coral" else self._tfjs
        poses = decode(
            heatmaps,
            offsets,
            displacements,
            stride=self.stride,
            max_poses=options.max_poses,
            score_threshold=options.score_threshold,
            nms_radius_px=options.nms_radius_px,
        )
        return Decoded(poses=tuple(pose for pose in poses if pose.score >= options.min_pose_score))

    @staticmethod
    def _coral(
        heatmaps: Tensor, offsets: Tensor, displacements: Sequence[Tensor], **limits: Any
    ) -> tuple[Pose, ...]:
        from edgecam.inference.decoders import posenet_coral

        both = np.concatenate(displacements, -1) if len(displacements) == 2 else displacements[0]
        return posenet_coral.decode_poses(heatmaps, offsets, both, **limits)

    @staticmethod
    def _tfjs(
        heatmaps: Tensor, offsets: Tensor, displacements: Sequence[Tensor], **limits: Any
    ) -> tuple[Pose, ...]:
        # It reads so few of them that putting them together would cost more.
        ways = (displacements[0], displacements[1]) if len(displacements) == 2 else displacements[0]
        return posenet_tfjs.decode_multiple_poses(heatmaps, offsets, ways, **limits)


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the outputs are heatmaps, offsets and displacements on one grid.

    Raises:
        ModelError: they are, but the grid fits no stride, or the rules asked for are unknown.
    """
    size = image_size(inputs)
    heatmaps = [place for place, info in enumerate(outputs) if _channels(info) == _HEATMAPS]
    if size is None or len(heatmaps) != 1:
        return None
    grid = outputs[heatmaps[0]].shape[1:3]
    namings = list(context.namings(outputs))
    places = {
        depth: [
            place
            for place, info in enumerate(outputs)
            if _channels(info) == depth and info.shape[1:3] == grid
        ]
        for depth in (_OFFSETS, _ONE_WAY, _BOTH_WAYS)
    }
    offsets = _short_offsets(places[_OFFSETS], namings)
    moves, how = _displacements(places, namings, heatmaps[0])
    if offsets is None or not moves:
        return None
    if context.decoder not in ("auto", "tfjs", "coral"):
        raise ModelError(f"decoder {context.decoder!r}: expected auto, tfjs or coral")
    # At the scores that a person asks for TensorFlow.js' rules find more people: 52 of the 86 on
    # COCO pictures and 14 ghosts, Coral's 31 and 3 (353x481, default settings). Over every score
    # Coral's place them better: AP 22.6 against 19.9.
    rules = "coral" if context.decoder == "coral" else "tfjs"
    heatmap = outputs[heatmaps[0]]
    stride = stride_of(size, grid)
    # Coral's BodyPix takes sides of 16n, and is made for one size.
    is_whole = any(side % stride == 0 for side in size)
    return PoseNet(
        outputs=(heatmaps[0], offsets, *moves),
        stride=stride,
        # At stride 8 sides of 8n+1 would do too, but none was published so.
        size_step=None if is_whole else max(SIDE_STEP, stride),
        rules=rules,
        why=f"heatmaps, offsets and displacements on {grid[0]}x{grid[1]} cells; {how}; "
        f"{rules} rules",
        probabilities=bool(holds_probabilities(heatmap, context.output_op(heatmaps[0]))),
        fit="letterbox" if min(size) >= _LETTERBOX_FROM_PX else "stretch",
    )


def stride_of(size: tuple[int, int], grid: tuple[int, ...]) -> int:
    """Return the output stride of an input of (height, width) pixels and a grid of (h, w) cells.

    Raises:
        ModelError: the two sides disagree, or it is none of ``STRIDES``.
    """
    for stride in STRIDES:
        spans = [stride * (cells - 1) for cells in grid]
        if all(side - span in (0, 1) for side, span in zip(size, spans, strict=True)):
            return stride
    raise ModelError(
        f"PoseNet of input {size[0]}x{size[1]} and {grid[0]}x{grid[1]} cells: expected sides of "
        "stride * (cells - 1), or one more, with a stride of 8, 16 or 32; it is of another kind"
    )


def _channels(info: TensorInfo) -> int | None:
    return info.shape[3] if len(info.shape) == 4 and info.shape[0] == 1 else None


def _short_offsets(places: list[int], namings: list[list[str]]) -> int | None:
    """Models for body parts have long offsets of the same shape."""
    short = [place for place in places if not any("long" in names[place] for names in namings)]
    return short[0] if len(short) == 1 else None


def _displacements(
    places: dict[int, list[int]], namings: list[list[str]], heatmaps: int
) -> tuple[tuple[int, ...], str]:
    """Places of the displacements, forward before backward, and how they were distinguished."""
    if len(places[_BOTH_WAYS]) == 1 and not places[_ONE_WAY]:
        return tuple(places[_BOTH_WAYS]), "both displacements in one tensor"
    if len(places[_ONE_WAY]) != 2 or places[_BOTH_WAYS]:
        return (), ""
    first, second = places[_ONE_WAY]
    for names in namings:
        ways = [_way(names[place]) for place in places[_ONE_WAY]]
        if ways in (["forward", "backward"], ["forward", ""], ["", "backward"]):
            return (first, second), "forward and backward by name"
        if ways in (["backward", "forward"], ["backward", ""], ["", "forward"]):
            return (second, first), "forward and backward by name"
    return _by_position(places[_ONE_WAY], namings[0], heatmaps)


def _way(name: str) -> str:
    # A fused tensor is called after all its ops, the one that makes it first.
    own = name.split(";")[0]
    forward, backward = bool(_FORWARD.search(own)), bool(_BACKWARD.search(own))
    return "" if forward == backward else "forward" if forward else "backward"


def _by_position(places: list[int], names: list[str], heatmaps: int) -> tuple[tuple[int, ...], str]:
    """Nameless displacements, by their number (``PartitionedCall:2``) or else their place.

    After the heatmaps the order is the one that every PoseNet returns its tensors in: forward,
    backward. Before them it is the alphabetical one of a signature's keys, as TensorFlow sorts
    them: displacement_bwd, displacement_fwd, heatmap, offset.
    """
    numbers = [re.search(r":(\d+)$", names[place]) for place in (*places, heatmaps)]
    ranks = [int(n[1]) for n in numbers if n is not None]
    if len(set(ranks)) != len(numbers):
        ranks = [*places, heatmaps]
    one, two = sorted(places, key=lambda place: ranks[places.index(place)])
    if max(ranks[:2]) < ranks[2]:
        return (two, one), "backward and forward by position before the heatmaps, names do not tell"
    return (one, two), "forward and backward by position, names do not tell"
