"""What is particular to PoseNet when it is converted: its outputs, sizes and normalisation."""

from __future__ import annotations

from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization
from edgecam.tools.convert.graph import ConvertError, Graph

OUTPUTS = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")
DEFAULT_SIZE = (257, 257)
_SIDE_STEP = 16
# By what an output's name in the published graphs is known; ResNet's carry a number at the end
# or none, MobileNet's are MobilenetV1/offset_2/BiasAdd and so on.
_SIGNS = ("heatmap", "offset", "displacement_fwd", "displacement_bwd")
# TensorFlow.js's PoseNet subtracts the means of ImageNet for ResNet50 and divides by nothing.
_RESNET = Normalization((123.15, 115.90, 103.06), (1.0, 1.0, 1.0))


def outputs_by_name(graph: Graph) -> dict[str, str] | None:
    """Return graph output -> PoseNet's name for it, in PoseNet's order, None if it is another.

    A heatmap is logits: of one that ends in a sigmoid it is what goes in there. TensorFlow.js's
    graphs have no sigmoid and frozen ones do, and one name is to mean one thing.
    """
    found = {}
    for sign, name in zip(_SIGNS, OUTPUTS, strict=True):
        outputs = [output for output in graph.outputs if sign in output.lower()]
        if len(outputs) != 1:
            return None
        found[_logits(graph, outputs[0])] = name
    return found if len(found) == len(OUTPUTS) else None


def _logits(graph: Graph, name: str) -> str:
    """Return what goes into the sigmoid that makes a tensor, the tensor itself where none does."""
    node = graph.node(name)
    while node.op == "Identity":
        node = graph.node(node.inputs[0])
    return node.inputs[0] if node.op == "Sigmoid" else name


def own_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the (height, width) that a graph's input [1, H, W, 3] states, else the usual one."""
    return (shape[1], shape[2]) if min(shape[1:3]) > 0 else DEFAULT_SIZE


def normalization(graph: Graph) -> Normalization:
    """Return what the published network of this kind was trained with."""
    is_resnet = any("resnet" in node.name.lower() for node in graph.nodes) or any(
        node.op == "MaxPool" for node in graph.nodes
    )
    return _RESNET if is_resnet else MINUS_ONE_TO_ONE


def size_step(heatmap: tuple[int, ...], side: int) -> int:
    """Return the step of valid sides, of which all are one more than a multiple.

    ``heatmap``: its shape [1, h, w, 17] for a square input of ``side`` pixels. It is the output
    stride: 32 of a published ResNet50; at the least 16, as every published size is.
    """
    return max(_SIDE_STEP, (side - 1) // max(heatmap[1] - 1, 1))


def valid_size(size: tuple[int, int], step: int = _SIDE_STEP) -> tuple[int, int]:
    """Return the nearest (height, width) of sides ``step`` * n + 1; the larger of two as near.

    At another size the last cell of the output grid does not lie on the picture's last pixel,
    and decoded keypoints drift.

    Raises:
        ConvertError: a side is not positive.
    """
    if min(size) < 1:
        raise ConvertError(f"size {size[0]}x{size[1]}: expected sides of at least 1 pixel")
    height, width = (max((side - 1 + step // 2) // step, 1) * step + 1 for side in size)
    return height, width
