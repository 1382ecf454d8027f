"""Frozen graphs with TensorFlow 1's branches and transposed convolutions, against plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphdefs import Shape, Type, const, node, placeholder

from edgecam.inference.runtime import find
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import control_flow, graphdef, summary
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.graph import ConvertError

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

F = Type("float32")
RNG = np.random.default_rng(3)
SCALE, OFFSET, MEAN = (RNG.normal(0, 1, 3).astype(np.float32) for _ in range(3))
VARIANCE = RNG.uniform(0.5, 2, 3).astype(np.float32)
KERNEL = RNG.normal(0, 1, (4, 4, 2, 3)).astype(np.float32)
IMAGE = RNG.normal(0, 1, (1, 6, 5, 3)).astype(np.float32)


def switched(name: str, source: str) -> bytes:
    return node("Switch", f"bn/{name}", [source, "bn/pred"], T=F)


def network(predicate: bytes, padding: str = "SAME") -> bytes:
    """``tf.layers.batch_normalization(training=...)``, ``conv2d_transpose``: as they freeze."""
    out = (12, 10) if padding == "SAME" else (14, 12)
    parts = [
        placeholder("image", (1, 6, 5, 3)),
        predicate,
        node("Identity", "bn/pred", ["is_training"], T=Type("bool")),
        node("Switch", "bn/way", ["is_training", "is_training"], T=Type("bool")),
        node("Identity", "bn/learning", ["bn/way:1"], T=Type("bool")),
        const("scale", SCALE),
        const("offset", OFFSET),
        const("mean", MEAN),
        const("variance", VARIANCE),
        *(switched(name, name) for name in ("image", "scale", "offset", "mean", "variance")),
        const("bn/none", np.zeros(0, np.float32)),
        node(
            "FusedBatchNorm",
            "bn/learnt",
            ["bn/image:1", "bn/scale:1", "bn/offset:1", "bn/none", "bn/none", "^bn/learning"],
            epsilon=0.001,
            is_training=True,
        ),
        node(
            "FusedBatchNorm",
            "bn/fixed",
            ["bn/image", "bn/scale", "bn/offset", "bn/mean", "bn/variance"],
            epsilon=0.001,
            is_training=False,
        ),
        node("Merge", "bn/merge", ["bn/fixed", "bn/learnt"], T=F, N=2),
        const("sizes", np.array([1, *out, 2], np.int32)),
        const("kernel", KERNEL),
        node(
            "Conv2DBackpropInput",
            "up",
            ["sizes", "kernel", "bn/merge"],
            strides=[1, 2, 2, 1],
            padding=padding,
            T=F,
        ),
    ]
    return b"".join(parts)


def upsampled(picture: Any, padding: str) -> Any:
    """The definition: each pixel adds its kernel to the picture, two pixels further each."""
    whole = np.zeros((1, 2 * 5 + 4, 2 * 4 + 4, 2))
    for y in range(6):
        for x in range(5):
            whole[0, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += KERNEL @ picture[0, y, x]
    return whole[:, 1:-1, 1:-1] if padding == "SAME" else whole


def converted(raw: bytes, folder: Path, options: Options | None = None) -> Any:
    path = folder / "graph.pb"
    path.write_bytes(raw)
    return convert(path, options or Options())


def run(data: bytes) -> Any:
    interpreter = find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], IMAGE)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


FALSE = node("Placeholder", "is_training", dtype=Type("bool"), shape=Shape(()))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_boolean_placeholder_is_false_and_its_branches_fold_away(
    tmp_path: Path, padding: str
) -> None:
    found = converted(network(FALSE, padding), tmp_path)
    normal = (IMAGE - MEAN) / np.sqrt(VARIANCE + 0.001) * SCALE + OFFSET
    np.testing.assert_allclose(run(found.data), upsampled(normal, padding), atol=1e-4)
    assert [op.name for op in read(found.data).main.ops] == ["MUL", "ADD", "TRANSPOSE_CONV"]
    assert "is_training: taken as False, as at inference" in found.notes


def test_a_default_counts_in_place_of_false(tmp_path: Path) -> None:
    learning = const("default", np.array(True)) + node(
        "PlaceholderWithDefault", "is_training", ["default"], dtype=Type("bool"), shape=Shape(())
    )
    with pytest.raises(ConvertError, match="'bn/learnt' is in training mode"):
        converted(network(learning), tmp_path)


def test_a_constant_belongs_to_the_branch_that_it_waits_for() -> None:
    raw = b"".join(
        [
            FALSE,
            node("Switch", "way", ["is_training", "is_training"], T=Type("bool")),
            node("Identity", "yes", ["way:1"], T=Type("bool")),
            node("Identity", "no", ["way"], T=Type("bool")),
            node("Const", "one", ["^yes"], dtype=F, value=np.array(1, np.float32)),
            node("Const", "two", ["^no"], dtype=F, value=np.array(2, np.float32)),
            placeholder("image", (1, 2, 2, 3)),
            node("Merge", "chosen", ["one", "two"], T=F, N=2),
            node("Mul", "out", ["image", "chosen"], T=F),
        ]
    )
    resolved = control_flow.resolve(graphdef.parse(raw, "b.pb"))
    assert [(node.name, node.inputs) for node in resolved.graph.nodes if node.op == "Mul"] == [
        ("out", ("image", "chosen"))
    ]
    assert resolved.graph.node("chosen").inputs == ("two",)
    assert (resolved.false, resolved.graph.inputs) == (("is_training",), ("image",))


def test_branches_of_what_is_not_known_stay_and_are_named(tmp_path: Path) -> None:
    unknown = node("Bernoulli", "is_training", ["image"], dtype=Type("bool"))
    with pytest.raises(ConvertError, match=r"Bernoulli \(1\), Merge \(1\), Switch \(6\)"):
        converted(network(unknown), tmp_path)


def test_sizes_that_do_not_fit_the_kernel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"makes \[1, 12, 10, 2\] of \[1, 8, 8, 3\].*--size"):
        converted(network(FALSE), tmp_path, Options(size=(8, 8)))


def test_inspect_shows_what_is_left_without_the_branches(tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(network(FALSE))
    found = summary.outline(tmp_path / "graph.pb")
    assert (found.inputs, found.outputs, found.unknown) == (("image",), ("up",), {})
    assert "Switch" not in found.ops
    assert {row.name: row.shape for row in found.nodes}["up"] == (1, 12, 10, 2)
