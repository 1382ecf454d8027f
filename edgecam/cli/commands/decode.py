"""``edgecam decode``: saved network outputs to poses or boxes, without a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgecam.cli.commands import decode_family, saved_tensors
from edgecam.cli.option_types import Number
from edgecam.core.errors import EdgecamError
from edgecam.core.keypoints import COUNT, EDGES
from edgecam.core.printable import say_json
from edgecam.core.protocols import Finds
from edgecam.core.result import Decoded, Pose
from edgecam.inference.decoders import posenet_coral, posenet_tfjs
from edgecam.inference.decoders.posenet import STRIDES, stride_of

Array = NDArray[Any]

FLOAT_SETS = ("float", "tfjs385", "synthetic")
_MAX_POSES, _LEAST_ROOT = 5, 0.5
_FLOAT_KEYS = ("heatmaps", "offsets", "displacement_fwd", "displacement_bwd")
_QUANTISED = re.compile(r"(coral_(\d+)_(\d+)_(full|comp))_heatmaps_u8")


@click.command("decode")
@click.argument("tensors_file", metavar="TENSORS.npz", type=click.Path(path_type=Path))
@click.option(
    "--decoder",
    type=decode_family.DecoderName(["tfjs", "coral", *decode_family.FAMILIES]),
    default="tfjs",
    show_default=True,
    help="Whose rules: PoseNet's by TensorFlow.js or Coral, or another family's.",
)
@click.option(
    "--stride",
    type=click.Choice([str(stride) for stride in STRIDES]),
    default="16",
    show_default=True,
    help="Input pixels from cell to cell.",
)
@click.option("--max-poses", type=click.IntRange(1), help="[default: 5, MultiPose 6, yolo 20]")
@click.option(
    "--score-threshold",
    type=Number(0, 1),
    help="PoseNet: of a root; MoveNet: of a person; else of each thing.  "
    "[default: 0.5, MoveNet 0.1, nanodet 0.35, yolo 0.25]",
)
@click.option("--nms-radius", type=Number(0), default=20.0, show_default=True, help="Input pixels.")
@click.option("--single", is_flag=True, help="One pose: each keypoint's best cell.")
@click.option("--tensors", "name", metavar="SET", help="Which set, where the file holds several.")
@click.option("--labels", metavar="FILE", help="Names of a detector's classes.")
def command(
    tensors_file: Path,
    decoder: str,
    stride: str,
    max_poses: int | None,
    score_threshold: float | None,
    nms_radius: float,
    single: bool,
    name: str | None,
    labels: str | None,
) -> None:
    """Decode saved network outputs to poses or boxes.

    Prints {"poses": [{"score", "keypoints": [[y, x, score] x 17]}]} in pixels of the network's
    input; detectors print {"detections": [{"label", "class_id", "score", "box": [y_min, x_min,
    y_max, x_max]}]}. For PoseNet TENSORS.npz holds heatmaps (logits), offsets, displacement_fwd and
    displacement_bwd as floats, or quantised sets named coral_HEIGHT_WIDTH_full or _comp. For
    MoveNet: center, kpt_heatmap, kpt_regress and kpt_offset, for MultiPose box_scale and box_offset
    too; or the whole network's one output. For the others: the network's outputs by any names,
    for ssd with classes and scores in them. The picture is there as input [H, W, 3], or its size
    as input_size [H, W]; names of classes may be there as labels. Of an 8-bit output NAME there is
    NAME_scale and NAME_zero_point. A batch of one may be left out.
    """
    if decoder in decode_family.FAMILIES:
        if single or name is not None:
            raise click.UsageError(f"--single and --tensors do not go with --decoder {decoder}")
        found = decode_family.decode(tensors_file, decoder, max_poses, score_threshold, labels)
        say_json(json.dumps(_found(*found)))
        return
    if labels is not None:
        raise click.UsageError(f"--labels does not go with --decoder {decoder}")
    if single and decoder != "tfjs":
        raise click.UsageError("--single: the coral rules know no single pose; use --decoder tfjs")
    heatmaps, offsets, displacements = _read(tensors_file, name, int(stride))
    poses: tuple[Pose, ...]
    if single:
        poses = (posenet_tfjs.decode_single_pose(heatmaps, offsets, stride=int(stride)),)
    else:
        decode = (
            posenet_coral.decode_poses if decoder == "coral" else posenet_tfjs.decode_multiple_poses
        )
        poses = decode(
            heatmaps,
            offsets,
            displacements,
            stride=int(stride),
            max_poses=_MAX_POSES if max_poses is None else max_poses,
            score_threshold=_LEAST_ROOT if score_threshold is None else score_threshold,
            nms_radius_px=nms_radius,
        )
    say_json(json.dumps({"poses": [_as_json(pose) for pose in poses]}))


def _found(finds: Finds, found: Decoded) -> dict[str, Any]:
    """Return what a family found as JSON has it."""
    if finds == "poses":
        return {"poses": [_as_json(pose) for pose in found.poses]}
    rows = []
    for one in found.detections:
        box = [one.box.y_min, one.box.x_min, one.box.y_max, one.box.x_max]
        named = {"label": one.label, "class_id": one.class_id, "score": one.score}
        rows.append({**named, "box": box})
    return {"detections": rows}


def _as_json(pose: Pose) -> dict[str, Any]:
    rows = np.column_stack((pose.xy[:, ::-1], pose.scores))
    return {"score": pose.score, "keypoints": rows.tolist()}


def _read(path: Path, name: str | None, stride: int) -> tuple[Array, Array, Array]:
    """Read one set: heatmaps, offsets and displacements, float32, checked."""
    with saved_tensors.opened(path) as file:
        arrays = _arrays(path, file, name, stride)
    grid = arrays[0].shape[:2]
    depths = (COUNT, 2 * COUNT, 4 * len(EDGES))
    for what, array, depth in zip(
        ("heatmaps", "offsets", "displacements"), arrays, depths, strict=True
    ):
        if array.shape != (*grid, depth) or not array.size:
            raise EdgecamError(
                f"{path}: {what} have shape {list(array.shape)}, expected [rows, columns, {depth}]"
                " of one grid"
            )
        if not np.isfinite(array).all():
            raise EdgecamError(f"{path}: {what} hold NaN or infinity; save finite outputs")
    return arrays


def _arrays(path: Path, file: Any, name: str | None, stride: int) -> tuple[Array, Array, Array]:
    quantised = {m[1]: m for key in file.files if (m := _QUANTISED.fullmatch(key))}
    has_float = any(key in file for key in _FLOAT_KEYS)
    held = [*(["float"] if has_float else []), *sorted(quantised)]
    if name is None and not has_float and len(quantised) == 1:
        name = next(iter(quantised))
    if name in quantised:
        return _quantised_set(path, file, quantised[name], stride)
    if held and (name not in (None, *FLOAT_SETS) or not has_float):
        problem = f"holds no set {name!r}" if name else "holds several sets"
        raise EdgecamError(f"{path}: {problem}; choose one with --tensors: {', '.join(held)}")
    heatmaps, offsets, forward, backward = (_float(path, file, key) for key in _FLOAT_KEYS)
    if forward.shape != backward.shape or forward.ndim != 3:
        raise EdgecamError(
            f"{path}: displacement_fwd has shape {list(forward.shape)} and displacement_bwd "
            f"{list(backward.shape)}, expected [rows, columns, {2 * len(EDGES)}] both"
        )
    return heatmaps, offsets, np.concatenate((forward, backward), axis=-1)


def _float(path: Path, file: Any, key: str) -> Array:
    array = saved_tensors.array(path, file, key)
    if array.dtype.kind != "f":
        raise EdgecamError(f"{path}: {key} is {array.dtype}, expected float32")
    return np.ascontiguousarray(array, np.float32)


def _quantised_set(
    path: Path, file: Any, match: re.Match[str], stride: int
) -> tuple[Array, Array, Array]:
    """A set of Coral's; the component network's mid offsets are stored with the full model's."""
    name = match[1]
    shared = name.removesuffix(match[4]) + "full"
    heatmaps = _dequantised(path, file, f"{name}_heatmaps")
    found = stride_of((int(match[2]), int(match[3])), heatmaps.shape[:2])
    if found != stride:
        raise EdgecamError(f"{path}: {name} has stride {found}; drop --stride {stride}")
    mid = f"{name if f'{name}_mid_offsets_u8' in file else shared}_mid_offsets"
    offsets = _dequantised(path, file, f"{name}_short_offsets")
    return heatmaps, offsets, _dequantised(path, file, mid)


def _dequantised(path: Path, file: Any, key: str) -> Array:
    values, scale, zero_point = (
        saved_tensors.array(path, file, f"{key}_{part}") for part in ("u8", "scale", "zero_point")
    )
    if values.dtype != np.uint8 or values.ndim != 3 or scale.size != 1 or zero_point.size != 1:
        raise EdgecamError(f"{path}: {key}: expected uint8 [rows, columns, channels] and a scale")
    steps = values.astype(np.float32) - np.float32(zero_point.item())
    dequantised: Array = steps * np.float32(scale.item())
    return dequantised
