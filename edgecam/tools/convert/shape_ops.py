"""The ops that only move values: shapes, axes, paddings, parts and joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgecam.tools.convert.graph import ConvertError, Node
from edgecam.tools.convert.lowering import Lowering


def _pad(lowering: Lowering, node: Node) -> None:
    pads = lowering.constant(node, 1).astype(np.int32)
    shape = lowering.shape(node.inputs[0])
    padded = [int(side + sum(pad)) for side, pad in zip(shape, pads, strict=True)]
    amounts = lowering.model.constant(f"{node.name}/paddings", pads)
    inputs = [lowering.place(node.inputs[0]), amounts]
    if node.op == "PadV2":
        inputs.append(lowering.place(node.inputs[2]))
    lowering.emit(node, "PADV2" if node.op == "PadV2" else "PAD", inputs, padded)


def _reshape(lowering: Lowering, node: Node) -> None:
    wanted = [int(side) for side in lowering.constant(node, 1)]
    shape = lowering.shape(node.inputs[0])
    # numpy finds the -1 and refuses what does not fit; the view of one element costs nothing.
    found = np.broadcast_to(np.float32(0), shape).reshape(wanted).shape
    to = lowering.model.constant(f"{node.name}/shape", np.array(wanted, np.int32))
    inputs = (lowering.place(node.inputs[0]), to)
    lowering.emit(node, "RESHAPE", inputs, found, {"newShape": wanted})


def _squeeze(lowering: Lowering, node: Node) -> None:
    shape = lowering.shape(node.inputs[0])
    axes = [int(axis) % len(shape) for axis in node.attributes.get("squeeze_dims") or ()]
    axes = axes or [axis for axis, side in enumerate(shape) if side == 1]
    if any(shape[axis] != 1 for axis in axes):
        raise ConvertError(f"Squeeze {node.name!r}: axes {axes} of {shape}, expected sides of 1")
    kept = [side for axis, side in enumerate(shape) if axis not in axes]
    inputs = (lowering.place(node.inputs[0]),)
    lowering.emit(node, "SQUEEZE", inputs, kept, {"squeezeDims": axes})


def _concatenation(lowering: Lowering, node: Node) -> None:
    parts = [lowering.shape(name) for name in node.inputs[:-1]]
    axis = int(lowering.constant(node, -1)) % len(parts[0])
    shape = [*parts[0]]
    shape[axis] = sum(part[axis] for part in parts)
    others = {(*part[:axis], *part[axis + 1 :]) for part in parts}
    if len(others) != 1:
        raise ConvertError(f"{node.op} {node.name!r}: parts {parts} do not fit on axis {axis}")
    inputs = [lowering.place(name) for name in node.inputs[:-1]]
    lowering.emit(node, "CONCATENATION", inputs, shape, {"axis": axis})


def _transpose(lowering: Lowering, node: Node) -> None:
    axes = [int(axis) for axis in lowering.constant(node, 1).reshape(-1)]
    shape = lowering.shape(node.inputs[0])
    if sorted(axes) != list(range(len(shape))):
        raise ConvertError(f"Transpose {node.name!r}: axes {axes} of {shape}, expected each once")
    order = lowering.model.constant(f"{node.name}/axes", np.array(axes, np.int32))
    inputs = (lowering.place(node.inputs[0]), order)
    lowering.emit(node, "TRANSPOSE", inputs, [shape[axis] for axis in axes])


def _split(lowering: Lowering, node: Node) -> None:
    """SplitV: a SLICE for each part, which every delegate takes."""
    shape = lowering.shape(node.inputs[0])
    sides = [int(side) for side in lowering.constant(node, 1).reshape(-1)]
    axis = int(lowering.constant(node, 2)) % len(shape)
    if sides.count(-1) == 1:
        sides[sides.index(-1)] = shape[axis] - sum(sides) - 1
    if sum(sides) != shape[axis] or min(sides) < 1:
        raise ConvertError(f"SplitV {node.name!r}: parts {sides} of {shape[axis]} do not fit")
    begin = 0
    for place, side in enumerate(sides):
        name = node.name if place == 0 else f"{node.name}:{place}"
        lowering.places[name] = lowering.sliced(
            lowering.place(node.inputs[0]), lowering.names.get(name, name), axis, begin, side
        )
        begin += side


def _depth_to_space(lowering: Lowering, node: Node) -> None:
    block = int(node.attributes["block_size"])
    shape = lowering.shape(node.inputs[0])
    if node.attributes.get("data_format", "NHWC") != "NHWC" or shape[3] % block**2:
        raise ConvertError(
            f"DepthToSpace {node.name!r}: blocks of {block} from {shape}, expected NHWC with a "
            f"multiple of {block**2} channels"
        )
    made = (shape[0], shape[1] * block, shape[2] * block, shape[3] // block**2)
    inputs = (lowering.place(node.inputs[0]),)
    lowering.emit(node, "DEPTH_TO_SPACE", inputs, made, {"blockSize": block})


SHAPE_LOWERINGS: Mapping[str, Callable[[Lowering, Node], None]] = {
    "ConcatV2": _concatenation,
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": _reshape,
    "SplitV": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
}
