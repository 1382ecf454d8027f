"""A small SSD as the Object Detection API writes one: 16x16 pictures, 4x4 cells, 2 anchors each."""

from __future__ import annotations

from typing import Any

import numpy as np
from graphdefs import Type, const, node, placeholder

F, I = np.float32, np.int32  # noqa: E741
T: dict[str, Any] = {"T": Type("float32")}
SIDE, CELLS, CLASSES = 16, 4, 2
ANCHORS = CELLS * CELLS * 2
EPSILON = 0.001
SCALES = (10.0, 10.0, 5.0, 5.0)
_CONV: dict[str, Any] = {**T, "padding": "SAME", "data_format": "NHWC", "dilations": [1, 1, 1, 1]}


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(F)


def positive(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype(F)


# What the network holds, for a computation by other means.
FIRST, FIRST_BN = (
    random(1, 3, 3, 3, 4),
    [positive(2, 4), random(3, 4), random(4, 4), positive(5, 4)],
)
DEPTH, DEPTH_BN = (
    random(6, 3, 3, 4, 1),
    [positive(7, 4), random(8, 4), random(9, 4), positive(10, 4)],
)
BOX, BOX_BIAS = random(11, 1, 1, 4, 8), random(12, 8)
CLASS, CLASS_BIAS = random(13, 1, 1, 4, 2 * (CLASSES + 1)), random(14, 2 * (CLASSES + 1))


def anchors() -> np.ndarray:
    """[A, 4]: y centre, x centre, height, width."""
    centre = (np.arange(CELLS, dtype=F) + 0.5) / CELLS
    y, x = np.meshgrid(centre, centre, indexing="ij")
    rows = [
        (cy, cx, *side)
        for cy, cx in zip(y.ravel(), x.ravel(), strict=True)
        for side in ((0.3, 0.2), (0.5, 0.6))
    ]
    return np.array(rows, F)


def strided(name: str, source: str, at: int) -> bytes:
    parts = (("b", at), ("e", at + 1), ("s", 1))
    return b"".join(const(f"{name}/{key}", np.array([number], I)) for key, number in parts) + node(
        "StridedSlice",
        name,
        [source, *(f"{name}/{key}" for key, _ in parts)],
        T=Type("int32"),
        Index=Type("int32"),
        shrink_axis_mask=1,
    )


def preprocessor(side: int) -> bytes:
    """The loop over pictures is left out, its end is not."""
    return (
        placeholder("image_tensor", (1, side, side, 3), "uint8")
        + node("Cast", "ToFloat", ["image_tensor"], SrcT=Type("uint8"), DstT=Type("float32"))
        + const("Preprocessor/size", np.array([side, side], I))
        + node("ResizeBilinear", "Preprocessor/Resize", ["ToFloat", "Preprocessor/size"], **T)
        + const("Preprocessor/mul/x", F(2 / 255))
        + node("Mul", "Preprocessor/mul", ["Preprocessor/mul/x", "Preprocessor/Resize"], **T)
        + const("Preprocessor/sub/y", F(1))
        + node("Sub", "Preprocessor/sub", ["Preprocessor/mul", "Preprocessor/sub/y"], **T)
    )


def batch_norm(name: str, source: str, statistics: list[np.ndarray], *, fused: bool) -> bytes:
    keys = [f"{name}/{key}" for key in ("gamma", "beta", "mean", "variance")]
    held = b"".join(const(key, values) for key, values in zip(keys, statistics, strict=True))
    if fused:
        inputs = [source, *keys]
        return held + node(
            "FusedBatchNormV3", name, inputs, **T, U=Type("float32"), epsilon=EPSILON,
            is_training=False, data_format="NHWC",
        )  # fmt: skip
    gamma, beta, mean, variance = keys
    return (
        held
        + const(f"{name}/e", F(EPSILON))
        + node("AddV2", f"{name}/ve", [variance, f"{name}/e"], **T)
        + node("Rsqrt", f"{name}/r", [f"{name}/ve"], **T)
        + node("Mul", f"{name}/m", [f"{name}/r", gamma], **T)
        + node("Mul", f"{name}/xm", [source, f"{name}/m"], **T)
        + node("Mul", f"{name}/mm", [mean, f"{name}/m"], **T)
        + node("Sub", f"{name}/bm", [beta, f"{name}/mm"], **T)
        + node("AddV2", name, [f"{name}/xm", f"{name}/bm"], **T)
    )


def head(name: str, weights: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """A prediction per anchor, its batch side computed from a shape as the API does."""
    pack = [f"{name}/n", *(f"{name}/p{place}" for place in range(len(shape)))]
    return (
        const(f"{name}/weights", weights)
        + node("Identity", f"{name}/weights/read", [f"{name}/weights"], **T)
        + node("Conv2D", f"{name}/conv", ["feature", f"{name}/weights/read"], **_CONV,
               strides=[1, 1, 1, 1])
        + const(f"{name}/bias", bias)
        + node("BiasAdd", f"{name}/BiasAdd", [f"{name}/conv", f"{name}/bias"], **T,
               data_format="NHWC")
        + node("Shape", f"{name}/Shape", [f"{name}/BiasAdd"], **T, out_type=Type("int32"))
        + strided(f"{name}/n", f"{name}/Shape", 0)
        + b"".join(const(key, I(side)) for key, side in zip(pack[1:], shape, strict=True))
        + node("Pack", f"{name}/shape", pack, T=Type("int32"), N=len(pack), axis=0)
        + node("Reshape", f"{name}/Reshape", [f"{name}/BiasAdd", f"{name}/shape"], **T,
               Tshape=Type("int32"))
    )  # fmt: skip


def network() -> bytes:
    return (
        const("w1", FIRST)
        + node("Conv2D", "c1", ["Preprocessor/sub", "w1"], **_CONV, strides=[1, 2, 2, 1])
        + batch_norm("n1", "c1", FIRST_BN, fused=False)
        + node("Relu6", "r1", ["n1"], **T)
        + const("w2", DEPTH)
        + node("DepthwiseConv2dNative", "c2", ["r1", "w2"], **_CONV, strides=[1, 2, 2, 1])
        + batch_norm("n2", "c2", DEPTH_BN, fused=True)
        + node("Relu6", "feature", ["n2"], **T)
        + head("Box", BOX, BOX_BIAS, (-1, 1, 4))
        + node("Squeeze", "Squeeze", ["Box/Reshape"], **T, squeeze_dims=[2])
        + head("Class", CLASS, CLASS_BIAS, (-1, CLASSES + 1))
    )


def postprocessor(corners: np.ndarray, scales: tuple[float, ...] = SCALES) -> bytes:
    """Box decoding in the form that TensorFlow's optimiser leaves: half folded into constants."""
    p, d = "Postprocessor", "Postprocessor/Decode"
    y, x, h, w = corners.T.astype(F)
    out = (
        const(f"{p}/one", F(1))
        + node("RealDiv", f"{p}/scale_logits", ["Class/Reshape", f"{p}/one"], **T)
        + node("Sigmoid", f"{p}/convert_scores", [f"{p}/scale_logits"], **T)
        + const(f"{p}/flat", np.array([-1, 4], I))
        + node("Reshape", f"{p}/Reshape_1", ["Squeeze", f"{p}/flat"], **T, Tshape=Type("int32"))
        + const(f"{d}/perm", np.array([1, 0], I))
        + node("Transpose", f"{d}/transpose", [f"{p}/Reshape_1", f"{d}/perm"], **T,
               Tperm=Type("int32"))
        + node("Unpack", f"{d}/unstack", [f"{d}/transpose"], **T, num=4, axis=0)
        + const(f"{d}/y", y) + const(f"{d}/x", x) + const(f"{d}/h", h) + const(f"{d}/w", w)
        + const(f"{d}/hy", h / F(scales[0])) + const(f"{d}/wx", w / F(scales[1]))
        + const(f"{d}/sh", F(scales[2])) + const(f"{d}/sw", F(scales[3])) + const(f"{d}/two", F(2))
    )  # fmt: skip

    def op(kind: str, name: str, *inputs: str) -> bytes:
        return node(kind, f"{d}/{name}", [f"{d}/{key}" for key in inputs], **T)

    return (
        out
        + op("Mul", "dy", "unstack", "hy") + op("AddV2", "cy", "dy", "y")
        + op("Mul", "dx", "unstack:1", "wx") + op("AddV2", "cx", "dx", "x")
        + op("RealDiv", "eh", "unstack:2", "sh") + op("Exp", "xh", "eh")
        + op("Mul", "hh", "xh", "h")
        + op("RealDiv", "ew", "unstack:3", "sw") + op("Exp", "xw", "ew")
        + op("Mul", "ww", "xw", "w")
        + op("RealDiv", "h2", "hh", "two") + op("RealDiv", "w2", "ww", "two")
        + op("Sub", "y0", "cy", "h2") + op("Sub", "x0", "cx", "w2")
        + op("AddV2", "y1", "cy", "h2") + op("AddV2", "x1", "cx", "w2")
        + node("Pack", f"{d}/stack", [f"{d}/{k}" for k in ("y0", "x0", "y1", "x1")], **T, N=4,
               axis=0)
        + node("Transpose", f"{d}/transpose_1", [f"{d}/stack", f"{d}/perm"], **T,
               Tperm=Type("int32"))
    )  # fmt: skip


def detector(scales: tuple[float, ...] = SCALES) -> bytes:
    return preprocessor(SIDE) + network() + postprocessor(anchors(), scales)


def exported() -> bytes:
    """The same network as the API's own export for TFLite ends it, without the preprocessor."""
    network_only = network().replace(b"Preprocessor/sub", b"normalized_input")
    return (
        placeholder("normalized_input", (1, SIDE, SIDE, 3))
        + network_only
        + node("Sigmoid", "scores", ["Class/Reshape"], **T)
        + const("anchors", anchors())
        + node("TFLite_Detection_PostProcess", "TFLite_Detection_PostProcess",
               ["Squeeze", "scores", "anchors"], nms_iou_threshold=0.5, nms_score_threshold=0.125,
               y_scale=10.0, x_scale=10.0, h_scale=5.0, w_scale=5.0)
    )  # fmt: skip
