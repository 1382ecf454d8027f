"""Made-up models of every family: their tensors, and what a decoder makes of them.

The numbers are drawn as whole ones, so that they are the same everywhere. what came out once is
kept in ``tests/data/decoders``: people who change a rule on purpose write it again with
``.venv/bin/python tests/decoder_cases.py``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.result import Box
from edgecam.core.tensors import TensorInfo
from edgecam.inference.calibration import LOG, Calibration, Sigmoid
from edgecam.inference.decoders import page_corners, page_edges, recognise
from edgecam.inference.decoders.family import FamilyContext, PostProcess

KEPT = Path(__file__).parent / "data/decoders/kept.json"
OPTIONS = {
    "default": DecodeOptions(),
    "low": DecodeOptions(0.05, 7, 8.0, 0.0, 0.3, 7, 3),
    "few": DecodeOptions(0.2, 2, 40.0, 0.02, 0.9, 2, 1),
}
F32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Case:
    """``outputs``: of each its name, its shape and how its numbers are drawn."""

    size: tuple[int, int]
    outputs: tuple[tuple[str, tuple[int, ...], str], ...]
    context: dict[str, Any] = field(default_factory=dict)

    def infos(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        inputs = [TensorInfo(0, "image", (1, *self.size, 3), F32)]
        made = enumerate(self.outputs)
        return inputs, [TensorInfo(10 + k, name, shape, F32) for k, (name, shape, _) in made]

    def decoder(self) -> Decoder:
        inputs, outputs = self.infos()
        return recognise(inputs, outputs, FamilyContext(**self.context))

    def tensors(self, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [drawn(rng, shape, kind) for _, shape, kind in self.outputs]


def drawn(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    part = rng.integers(0, 1000, shape) / 1000.0
    if kind == "logits":
        found = 14 * part**2 - 9
    elif kind == "sure":
        found = part**6
    elif kind == "field":
        found = 60 * part - 30
    elif kind == "cells":
        found = 6 * part - 3
    elif kind == "boxes":
        corner = part[..., :2] * 0.7
        found = np.concatenate((corner, corner + 0.05 + part[..., 2:4] * 0.25), axis=-1)
    elif kind == "rows":
        # x, y, width and height in pixels, then probabilities.
        found = np.concatenate(
            (part[..., :2] * 60, 4 + part[..., 2:4] * 30, part[..., 4:] ** 5), -1
        )
    elif kind == "places":
        found = drawn(rng, (*shape[:-2], shape[-1], shape[-2]), "rows").swapaxes(-1, -2) / 64
        found[..., 4:, :] *= 64
    elif kind == "ends":
        first = part[..., :2] * 40
        sides = (first, first + 5 + part[..., 2:4] * 20)
        classes = np.floor(part[..., 5:6] * 5)
        found = np.concatenate((*sides, part[..., 4:5], classes, part[..., 6:]), axis=-1)
    elif kind == "classes":
        found = np.floor(part * 5)
    elif kind == "falling":
        found = -np.sort(-part, axis=-1)
    elif kind == "count":
        found = np.full(shape, 7.0)
    elif kind == "faces":
        found = np.concatenate((part[..., :4] * 30, part[..., 4:] * 40 - 20), axis=-1)
    elif kind == "page":
        found = page_map(rng, shape[1], shape[2])[None, :, :, None]
    else:
        raise ValueError(kind)
    return found.astype(np.float32)


def page_map(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Edges about two cells wide, one of them weak, among lesser ones."""
    sides = np.array((width, height)) / 1000.0
    corners = np.array(((120, 150), (880, 90), (930, 860), (80, 900)))
    corners = (corners + rng.integers(-60, 60, (4, 2))) * sides
    y, x = np.mgrid[:height, :width]
    at = np.stack((x, y), -1).astype(float)
    found = np.zeros((height, width))
    for number, (one, two) in enumerate(zip(corners, np.roll(corners, -1, 0), strict=True)):
        along = two - one
        share = np.clip(((at - one) @ along) / (along @ along), 0, 1)
        gap = at - one - share[..., None] * along
        level = (1.0, 0.95, 0.9, 0.4)[number]
        found = np.maximum(found, level * np.exp(-((gap**2).sum(-1)) / 2.0))
    found[height // 3, width // 4 : width // 2] = 0.6
    noise = rng.integers(0, 1000, (height, width)) / 1000.0
    return np.maximum(found, 0.3 * noise**4)


POSENET = (
    ("heatmaps", (1, 5, 7, 17), "logits"),
    ("offsets", (1, 5, 7, 34), "field"),
    ("fwd", (1, 5, 7, 32), "field"),
    ("bwd", (1, 5, 7, 32), "field"),
)
BOTH = (*POSENET[:2], ("moves", (1, 5, 7, 64), "field"))
HEADS = (
    ("center", (1, 12, 12, 1), "logits"),
    ("kpt_heatmap", (1, 12, 12, 17), "logits"),
    ("kpt_regress", (1, 12, 12, 34), "cells"),
    ("kpt_offset", (1, 12, 12, 34), "cells"),
)
BOXES = (("box_scale", (1, 12, 12, 2), "cells"), ("box_offset", (1, 12, 12, 2), "cells"))
OP = PostProcess((10, 11, 12, 13), 5)
FOUND = (
    ("boxes", (1, 9, 4), "boxes"),
    ("classes", (1, 9), "classes"),
    ("scores", (1, 9), "falling"),
    ("count", (1,), "count"),
)
RAW = (("encodings", (1, 30, 4), "cells"), ("scores", (1, 30, 6), "sure"))
ANCHORS = (np.arange(120).reshape(30, 4) % 7 / 8.0 + 0.1).astype(np.float32)
FIVE = tuple("abcde")
CALIBRATED = Calibration(
    (Sigmoid(1.0, 2.0, 0.5), None, Sigmoid(0.9, 1.0, 1.0, 0.3), Sigmoid(0.5, 3.0, 0.0)), LOG, 0.25
)
NANO = tuple(
    (f"{what}{stride}", (1, (64 // stride) ** 2, width), kind)
    for what, width, kind in (("cls", 5, "sure"), ("dist", 32, "cells"))
    for stride in (8, 16, 32)
)
CASES = {
    "posenet": Case((65, 97), POSENET),
    "posenet-coral": Case((65, 97), POSENET, {"decoder": "coral"}),
    "posenet-both": Case((65, 97), BOTH),
    "posenet-both-coral": Case((65, 97), BOTH, {"decoder": "coral"}),
    "posenet-sigmoid": Case(
        (65, 97), (("h", (1, 5, 7, 17), "sure"), *BOTH[1:]), {"output_ops": ("LOGISTIC",)}
    ),
    "ssd": Case((40, 60), FOUND, {"postprocess": OP, "labels": FIVE}),
    "ssd-named": Case((40, 60), FOUND, {"labels": ("???", *FIVE)}),
    "ssd-nameless": Case((40, 60), tuple((f"o{k}", *each[1:]) for k, each in enumerate(FOUND))),
    "ssd-raw": Case((40, 60), RAW, {"anchors": ANCHORS, "labels": FIVE}),
    "ssd-raw-logits": Case(
        (40, 60),
        (RAW[0], ("scores", (1, 30, 6), "logits")),
        {"anchors": ANCHORS, "output_ops": ("CONV_2D", "CONV_2D")},
    ),
    "ssd-raw-three": Case((40, 60), (*RAW, ("anchors", (30, 4), "sure"))),
    "movenet": Case((48, 64), (("o", (1, 1, 17, 3), "sure"),)),
    "movenet-heads": Case((48, 48), HEADS),
    "multipose": Case((48, 64), (("o", (1, 6, 56), "sure"),)),
    "multipose-heads": Case((48, 48), (*HEADS[2:], *BOXES, *HEADS[:2])),
    "nanodet": Case((64, 64), NANO, {"labels": FIVE}),
    "nanodet-one": Case((64, 96), (("o", (1, 126, 49), "sure"),), {"labels": FIVE}),
    "nanodet-plus": Case((64, 64), (("o", (1, 85, 37), "sure"),), {"labels": FIVE}),
    "fomo": Case(
        (48, 64),
        (("o", (1, 6, 8, 4), "sure"),),
        {"labels": ("background", "a", "b", "c"), "output_ops": ("SOFTMAX",)},
    ),
    "mediapipe-person": Case(
        (64, 96), (("o", (1, 276, 12), "faces"), ("s", (1, 276, 1), "logits"))
    ),
    "mediapipe-pose": Case((64, 64), (("o", (1, 195), "field"), ("s", (1, 1), "falling"))),
    "yolo-v8": Case((64, 64), (("o", (1, 9, 84), "places"),), {"labels": FIVE}),
    "yolo-v5": Case((64, 64), (("o", (1, 252, 10), "rows"),), {"labels": FIVE}),
    "yolo-poses": Case((64, 64), (("o", (1, 56, 84), "places"),)),
    "yolo-end": Case((64, 64), (("o", (1, 300, 6), "ends"),), {"labels": FIVE}),
    "yolo-end-poses": Case((64, 64), (("o", (1, 300, 57), "ends"),)),
    "classifier": Case((32, 32), (("o", (1, 9), "logits"),)),
    "classifier-sure": Case((32, 32), (("o", (1, 1, 1, 6), "sure"),), {"labels": ("bg", *FIVE)}),
    "documents": Case((96, 128), (("edges", (1, 48, 64, 1), "page"),)),
    "documents-square": Case(
        (64, 64), (("dsn1", (1, 32, 32, 1), "page"), ("fuse", (1, 64, 64, 1), "page"))
    ),
    "calibrated": Case(
        (40, 60), FOUND, {"postprocess": OP, "calibration": CALIBRATED, "labels": FIVE}
    ),
    "calibrated-classes": Case((32, 32), (("o", (1, 5), "sure"),), {"calibration": CALIBRATED}),
}


def stated(decoder: Decoder) -> list[Any]:
    return [
        decoder.family,
        decoder.finds,
        list(decoder.outputs),
        decoder.size_step,
        decoder.rules,
        decoder.skeleton is not None,
        decoder.fit,
        [*decoder.normalization.mean, *decoder.normalization.std],
        None if decoder.labels is None else [len(decoder.labels), *decoder.labels[:3]],
        decoder.for_crops,
    ]


def corners(box: Box) -> tuple[float, ...]:
    return box.x_min, box.y_min, box.x_max, box.y_max


def decoded(decoder: Decoder, tensors: list[np.ndarray], options: DecodeOptions) -> list[Any]:
    found = decoder([tensors[place] for place in decoder.outputs], options)
    poses = [[pose.score, *pose.xy.ravel(), *pose.scores] for pose in found.poses or ()]
    boxes = [
        [each.label, each.class_id, each.score, *corners(each.box)]
        for each in found.detections or ()
    ]
    classes = [[each.label, each.class_id, each.score] for each in found.classes or ()]
    pages = [[each.score, *each.corners.ravel()] for each in found.documents or ()]
    return [
        [each if isinstance(each, str) else round(float(each), 3) for each in row]
        for row in (*poses, *boxes, *classes, *pages)
    ]


def others(case: Case) -> Iterator[tuple[str, Case]]:
    """Models that differ in one thing."""
    for place, (name, shape, kind) in enumerate(case.outputs):
        for axis in range(len(shape)):
            for step in (-1, 1):
                changed = (*shape[:axis], shape[axis] + step, *shape[axis + 1 :])
                outputs = list(case.outputs)
                outputs[place] = (name, changed, kind)
                yield f"{place}.{axis}{step:+}", replace(case, outputs=tuple(outputs))
        yield (
            f"{place} less",
            replace(case, outputs=case.outputs[:place] + case.outputs[place + 1 :]),
        )
        yield f"{place} twice", replace(case, outputs=(*case.outputs, case.outputs[place]))
    yield "backwards", replace(case, outputs=case.outputs[::-1])
    yield "nameless", replace(case, outputs=tuple(("", *each[1:]) for each in case.outputs))
    yield "unlabelled", replace(case, context={**case.context, "labels": None})
    yield "three labels", replace(case, context={**case.context, "labels": ("a", "b", "c")})
    for step in (-1, 1):
        yield f"size {step:+}", replace(case, size=(case.size[0] + step, case.size[1]))
    for op in ("SOFTMAX", "MEAN"):
        ops = (op,) * len(case.outputs)
        yield op, replace(case, context={**case.context, "output_ops": ops})


def recognised(case: Case) -> str:
    try:
        found = case.decoder()
    except ModelError as error:
        return "none" if "no known family" in str(error) else "refused"
    about = (found.family, found.outputs, found.fit, found.rules, found.size_step)
    names = None if found.labels is None else len(found.labels)
    details = {
        key: getattr(found, key)
        for key in ("stride", "first_class", "probabilities", "is_stated", "form", "bins")
        if hasattr(found, key)
    }
    return f"{about} {names} {details}"


def kept_of(name: str) -> dict[str, Any]:
    case = CASES[name]
    decoder = case.decoder()
    results = {
        f"{seed} {options}": decoded(decoder, case.tensors(seed), OPTIONS[options])
        for seed in (1, 2)
        for options in OPTIONS
    }
    return {
        "stated": stated(decoder),
        "others": {what: recognised(other) for what, other in others(case)},
        "results": results,
    }


def rounded(values: Any) -> list[Any]:
    found = np.round(np.asarray(values, float), 2)
    return [None if math.isnan(each) else each for each in found.ravel().tolist()]


def outline_of(seed: int) -> dict[str, Any]:
    """What the search for a page goes through, step by step."""
    edges = page_map(np.random.default_rng(seed), 72, 96).astype(np.float32)
    contours, lines = page_corners._from_contours(edges), page_corners._from_lines(edges)
    found = page_corners.page(edges)
    assert found is not None
    every = np.concatenate((contours, lines))
    return {
        "contours": rounded(contours),
        "lines": [len(lines), *rounded(lines[:: max(1, len(lines) // 8)])],
        "pages": np.flatnonzero(page_corners._is_page(every, edges.shape)).tolist(),
        "support": rounded(100 * page_corners._support(edges, every[:: max(1, len(every) // 20)])),
        "ridge": [int(page_corners._ridge(edges).sum()), *page_corners._ridge(edges)[20].tolist()],
        "found": [round(found.score, 3), *rounded(found.corners)],
    }


def photograph(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A page whose sides sag, grain all over it, and corners that are roughly its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320].astype(float)
    top, bottom = 40 + 0.05 * x + 3 * np.sin(x / 90), 205 - 0.04 * x - 2 * np.sin(x / 80)
    left, right = 45 + 0.06 * y, 280 - 0.03 * y
    inside = np.ones_like(x)
    for gap in (y - top, bottom - y, x - left, right - x):
        inside *= np.clip(gap + 0.5, 0, 1)
    grey = 60 + 140 * inside + rng.integers(-12, 13, x.shape)
    corners = np.array(((47, 42), (278, 54), (274, 194), (57, 203)), float)
    image = np.stack((grey, grey * 0.9, grey * 0.8), -1).clip(0, 255).astype(np.uint8)
    return image, corners + rng.integers(-30, 31, (4, 2)) / 10.0


def steps_of_pages() -> dict[str, Any]:
    seeds = range(1, 7)
    return {
        "outlines": [outline_of(seed) for seed in seeds],
        "sharpened": [rounded(page_edges.sharpened(*photograph(seed))) for seed in seeds],
    }


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(kept_of(name))}" for name in CASES]
    lines.append(f'"pages": {json.dumps(steps_of_pages())}')
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{KEPT}: {KEPT.stat().st_size} bytes", file=sys.stderr)
