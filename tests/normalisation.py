"""What batch normalisation leaves in a graph where it is not folded."""

from __future__ import annotations

import numpy as np

from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.graph import FileOp
from edgecam.tools.convert.graph import Graph

_CHANNELWISE = ("MUL", "SUB", "DIV", "ADD", "RSQRT", "BATCH_NORM")


def in_tflite(file: ModelFile) -> list[str]:
    """What computes with one constant for each channel beside a convolution.

    A model file keeps constants in buffers; a batch norm that was not folded multiplies by one
    and adds another, of as many numbers as there are channels. A dense layer's bias is none.
    """

    def is_constant(index: int) -> bool:
        maker = file.producer(index)
        if maker is not None and maker.name == "DEQUANTIZE":
            return is_constant(maker.inputs[0])
        return file.main.tensors[index].is_constant

    def is_bias(op: FileOp) -> bool:
        makers = [file.producer(index) for index in op.inputs]
        dense = any(maker is not None and maker.name == "FULLY_CONNECTED" for maker in makers)
        return op.name == "ADD" and dense

    return [
        op.name
        for op in file.main.ops
        if op.name in _CHANNELWISE
        and not is_bias(op)
        and any(is_constant(i) and np.prod(file.main.tensors[i].shape) > 1 for i in op.inputs)
    ]


def in_graph(graph: Graph) -> list[str]:
    """Batch norms of a frozen graph, and what Keras writes for one: Rsqrt, Mul, Sub, AddV2.

    A shortcut is an AddV2 too, of two tensors and no constant.
    """
    return [
        node.op
        for node in graph.nodes
        if node.op.startswith("FusedBatchNorm")
        or node.op in ("Rsqrt", "Mul", "Sub", "RealDiv")
        or (node.op in ("Add", "AddV2") and any(name in graph.constants for name in node.inputs))
    ]
