"""A network that was trained on BGR made to take RGB, as edgecam feeds every model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecam.tools.convert.constant_folding import fold_constants
from edgecam.tools.convert.fuse import CONVOLUTIONS, TRANSPARENT, UNFUSED
from edgecam.tools.convert.graph import ConvertError, Graph

_KEEPING = ("Pad", *TRANSPARENT)
_KERNELS = (*CONVOLUTIONS, *UNFUSED)


def rgb(graph: Graph, image: str) -> Graph:
    """Return the graph with the input channels of its first layers in the other order.

    Raises:
        ConvertError: something else than a convolution takes the picture.
    """
    graph = fold_constants(graph)
    pictures = {image}
    constants = dict(graph.constants)
    nodes = []
    for node in graph.nodes:
        changed = node
        if node.name != image and node.inputs and node.inputs[0] in pictures:
            if node.op in _KEEPING:
                pictures.add(node.name)
            elif node.op in _KERNELS and node.inputs[1] in constants:
                turned = f"{node.inputs[1]}/rgb"
                constants[turned] = np.ascontiguousarray(constants[node.inputs[1]][:, :, ::-1])
                changed = replace(node, inputs=(node.inputs[0], turned, *node.inputs[2:]))
            else:
                raise ConvertError(
                    f"--bgr: {node.op} {node.name!r} takes the picture, expected a convolution; "
                    "cut the graph behind it with --inputs"
                )
        nodes.append(changed)
    return replace(graph, nodes=tuple(nodes), constants=constants)
