"""Compute at conversion what a graph computes from shapes and constants alone.

With a static input such nodes are constants; TensorFlow writes them around every Reshape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgecam.convert.graph import Array, Node

_MASKS = ("begin_mask", "end_mask", "shrink_axis_mask", "ellipsis_mask", "new_axis_mask")


def evaluate(
    node: Node, known: Mapping[str, Array], shape: Callable[[str], tuple[int, ...]]
) -> Array | None:
    """Return the node's value if it depends on no picture, else None."""
    if node.op == "Shape":
        return np.array(shape(node.inputs[0]), np.int32)
    evaluator = EVALUATED.get(node.op)
    if evaluator is None or any(name not in known for name in node.inputs):
        return None
    return evaluator(node, [known[name] for name in node.inputs])


def _strided_slice(node: Node, values: list[Array]) -> Array:
    source, begin, end, strides = values
    masks = {name: int(node.attributes.get(name, 0)) for name in _MASKS}
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        raise ValueError("an ellipsis or a new axis in a slice of shapes")
    index: list[slice | int] = []
    for axis, (low, high, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if masks["shrink_axis_mask"] & bit:
            index.append(int(low))
            continue
        start = None if masks["begin_mask"] & bit else int(low)
        stop = None if masks["end_mask"] & bit else int(high)
        index.append(slice(start, stop, int(step)))
    return np.array(source[tuple(index)])


def _pack(node: Node, values: list[Array]) -> Array:
    return np.stack(values, axis=int(node.attributes.get("axis", 0)))


def _cast(node: Node, values: list[Array]) -> Array:
    return values[0].astype(node.attributes["DstT"])


EVALUATED: Mapping[str, Callable[[Node, list[Array]], Array]] = {
    "Cast": _cast,
    "ConcatV2": lambda _, values: np.concatenate(values[:-1], axis=int(values[-1])),
    "ExpandDims": lambda _, values: np.expand_dims(values[0], int(values[1])),
    "Pack": _pack,
    "Prod": lambda _, values: np.array(np.prod(values[0], axis=tuple(values[1].reshape(-1)))),
    "Shape": lambda _, values: np.array(values[0].shape, np.int32),
    "StridedSlice": _strided_slice,
}
