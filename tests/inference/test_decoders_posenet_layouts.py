"""Which output of a PoseNet is taken for what, whatever the order and the names."""

from __future__ import annotations

from itertools import permutations

import flatbuffers
import numpy as np
import pytest
from posenet_vectors import bundled, differences

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.catalog import resolve
from edgecam.inference.decoders import posenet
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.tflite import file as tflite_file

FLOAT = np.dtype(np.float32)
GRID = (13, 21)
IMAGE = TensorInfo(0, "sub_2", (1, 193, 321, 3), FLOAT)
DEPTHS = {
    "heatmaps": 17,
    "offsets": 34,
    "fwd": 32,
    "bwd": 32,
    "both": 64,
    "long": 34,
    "segments": 1,
}
OPTIONS = DecodeOptions(score_threshold=0.3, max_poses=15, min_pose_score=0.0)


def infos(names: list[tuple[str, str]], grid: tuple[int, int] = GRID) -> list[TensorInfo]:
    """Outputs by (what it is, what it is called)."""
    return [
        TensorInfo(place + 1, name, (1, *grid, DEPTHS[what]), FLOAT)
        for place, (what, name) in enumerate(names)
    ]


def bound(names: list[tuple[str, str]], context: FamilyContext | None = None) -> list[str]:
    """What the decoder takes, in its order."""
    decoder = decoders.recognise([IMAGE], infos(names), context or FamilyContext())
    assert decoder.family == "posenet"
    return [names[place][0] for place in decoder.outputs]


# multi_kpt_stripped; TensorFlow.js's own names; the names of a signature; forward alone named.
NAMED = [
    [
        ("heatmaps", "MobilenetV1/heatmap_2/BiasAdd"),
        ("offsets", "MobilenetV1/offset_2/BiasAdd"),
        ("fwd", "MobilenetV1/displacement_fwd_2/BiasAdd"),
        ("bwd", "MobilenetV1/displacement_bwd_2/BiasAdd"),
    ],
    [
        ("heatmaps", "float_heatmaps"),
        ("offsets", "float_short_offsets"),
        ("fwd", "resnet_v1_50/displacement_fwd_2/BiasAdd"),
        ("bwd", "resnet_v1_50/displacement_bwd_2/BiasAdd"),
    ],
    [("heatmaps", "heatmap"), ("offsets", "offset"), ("fwd", "Forward"), ("bwd", "BACKWARD")],
    [("heatmaps", ""), ("offsets", ""), ("fwd", "displacement_fwd"), ("bwd", "other")],
    [
        ("heatmaps", "a"),
        ("offsets", "b"),
        ("fwd", "m/displacement_fwd_2/BiasAdd;m/displacement_bwd_2/BiasAdd/conv"),
        ("bwd", "m/displacement_bwd_2/BiasAdd;m/displacement_fwd_2/BiasAdd/conv"),
    ],
]


@pytest.mark.parametrize("names", NAMED, ids=["kpt", "resnet", "words", "half", "fused"])
def test_any_order_by_name(names: list[tuple[str, str]]) -> None:
    for order in permutations(names):
        assert bound(list(order)) == ["heatmaps", "offsets", "fwd", "bwd"]


def test_the_tensors_own_names_beat_the_signatures_and_those_the_metadatas() -> None:
    reported = [("bwd", "bwd"), ("fwd", "fwd"), ("heatmaps", "x"), ("offsets", "y")]
    unreported = [(what, f"t{place}") for place, (what, _) in enumerate(reported)]
    right, wrong = (
        ("backward", "forward", "heatmap", "offset"),
        ("forward", "backward", "heatmap", "offset"),
    )
    expected = ["heatmaps", "offsets", "fwd", "bwd"]
    for names, signature, metadata in (
        (reported, wrong, wrong),
        (unreported, right, wrong),
        (unreported, (), right),
        (unreported, ("a", "b", "", ""), right),
    ):
        context = FamilyContext(signature_output_names=signature, metadata_output_names=metadata)
        assert bound(names, context) == expected


def test_a_bundled_model_with_its_outputs_in_any_order() -> None:
    """Its metadata, which goes by place, is then out of step."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    path = resolve("posenet")
    for nameless in (False, True):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
        graph = model.subgraphs[0]
        usual = list(graph.outputs)
        if nameless:  # the signature still knows them
            for tensor in graph.tensors:
                tensor.name = b""
        for order in list(permutations(range(4)))[1::6]:
            graph.outputs = [usual[place] for place in order]
            builder = flatbuffers.Builder(1 << 21)
            builder.Finish(model.Pack(builder), b"TFL3")
            file = tflite_file.read(bytes(builder.Output()), "reordered")
            decoder = decoders.recognise(file.inputs, file.outputs, decoders.context_of(file))
            assert [file.outputs[place].index for place in decoder.outputs] == usual, order


@pytest.mark.parametrize(
    "numbers",
    [
        {"heatmaps": 0, "offsets": 1, "fwd": 2, "bwd": 3},  # a function's tuple
        {"bwd": 0, "fwd": 1, "heatmaps": 2, "offsets": 3},  # a signature's sorted keys
    ],
)
@pytest.mark.parametrize("prefix", ["PartitionedCall", "StatefulPartitionedCall"])
def test_any_order_by_number(numbers: dict[str, int], prefix: str) -> None:
    names = [(what, f"{prefix}:{number}") for what, number in numbers.items()]
    for order in permutations(names):
        assert bound(list(order)) == ["heatmaps", "offsets", "fwd", "bwd"]


def test_nameless_by_place_and_said_so() -> None:
    usual = [("heatmaps", "a"), ("offsets", "b"), ("fwd", "c"), ("bwd", "d")]
    assert bound(usual) == ["heatmaps", "offsets", "fwd", "bwd"]
    sorted_keys = [("bwd", "d"), ("fwd", "c"), ("heatmaps", "a"), ("offsets", "b")]
    assert bound(sorted_keys) == ["heatmaps", "offsets", "fwd", "bwd"]
    decoder = decoders.recognise([IMAGE], infos(usual), FamilyContext())
    assert "names do not tell" in decoder.why
    decoder = decoders.recognise([IMAGE], infos(NAMED[0]), FamilyContext())
    assert "by name" in decoder.why


@pytest.mark.parametrize("rules", ["auto", "tfjs", "coral"])
def test_coral_layout_with_more_outputs_than_needed(rules: str) -> None:
    names = [
        ("both", "float_mid_offsets"),
        ("long", "float_long_offsets"),
        ("segments", "float_segments"),
        ("offsets", "float_short_offsets"),
        ("heatmaps", "float_heatmaps"),
    ]
    for order in permutations(names):
        assert bound(list(order), FamilyContext(decoder=rules)) == ["heatmaps", "offsets", "both"]
    decoder = decoders.recognise([IMAGE], infos(names), FamilyContext(decoder=rules))
    assert ("coral" if rules == "coral" else "tfjs") in decoder.why


def recorded(rules: str, *, together: bool = False, sigmoid: bool = False) -> tuple[Decoder, list]:
    """A decoder for a bundled case, and the tensors it asks for."""
    _, (heatmaps, offsets, both) = bundled("people_stride16")
    parts = {"heatmaps": heatmaps, "offsets": offsets, "both": both}
    parts |= {"fwd": both[..., :32], "bwd": both[..., 32:]}
    names = [("both", "mid")] if together else [("bwd", "bwd"), ("fwd", "fwd")]
    names += [("offsets", "offset"), ("heatmaps", "heatmap")]
    ops = ("",) * (len(names) - 1) + ("LOGISTIC",) if sigmoid else ()
    context = FamilyContext(decoder=rules, output_ops=ops)
    decoder = decoders.recognise([IMAGE], infos(names), context)
    if sigmoid:
        parts["heatmaps"] = 1.0 / (1.0 + np.exp(-heatmaps))
    return decoder, [parts[names[place][0]][None] for place in decoder.outputs]


@pytest.mark.parametrize("together", [False, True])
def test_decodes_what_it_bound(together: bool) -> None:
    case, _ = bundled("people_stride16")
    decoder, tensors = recorded("auto", together=together)
    poses = decoder(tensors, OPTIONS).poses
    assert differences(poses, case["tfjs"][1]["poses"])[0].max() < 2e-6


def test_heatmaps_that_went_through_a_sigmoid() -> None:
    case, _ = bundled("people_stride16")
    decoder, tensors = recorded("auto", sigmoid=True)
    off_px, off_score = differences(decoder(tensors, OPTIONS).poses, case["tfjs"][1]["poses"])
    assert off_px.max() < 2e-6
    assert off_score < 1e-5


def test_coral_rules_are_used_when_asked_for() -> None:
    tfjs, tensors = recorded("tfjs")
    coral, _ = recorded("coral")
    ours, theirs = tfjs(tensors, OPTIONS).poses, coral(tensors, OPTIONS).poses
    assert len(ours) == len(theirs) == 3
    assert not any(np.array_equal(a.xy, b.xy) for a in ours for b in theirs)


def test_the_least_pose_score_drops_ghosts() -> None:
    decoder, tensors = recorded("auto")
    loose = {"score_threshold": 0.1, "max_poses": 20, "nms_radius_px": 10.0}
    assert len(decoder(tensors, DecodeOptions(**loose, min_pose_score=0.0)).poses) == 10
    assert len(decoder(tensors, DecodeOptions(**loose, min_pose_score=0.2)).poses) == 3


@pytest.mark.parametrize("rules", ["tfjs", "coral"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_hold_no_person(rules: str, value: float) -> None:
    decoder, tensors = recorded(rules)
    for place in range(len(tensors)):
        broken = [tensor.copy() for tensor in tensors]
        broken[place][0, 5, 5, 3] = value
        assert decoder(broken, OPTIONS).poses == ()


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_stride_from_input_and_grid(stride: int) -> None:
    assert posenet.stride_of((stride * 7 + 1, stride * 12 + 1), (8, 13)) == stride
    assert posenet.stride_of((stride * 7, stride * 12), (8, 13)) == stride


def test_bodypix_of_sides_of_16n_finds_poses_at_its_one_size() -> None:
    image = TensorInfo(0, "image", (1, 352, 480, 3), np.uint8)
    names = [("both", "mid"), ("offsets", "short"), ("heatmaps", "heatmaps")]
    decoder = decoders.recognise([image], infos(names, (23, 31)), FamilyContext())
    assert (decoder.finds, decoder.size_step) == ("poses", None)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((256, 256), (16, 16)), ((193, 193), (13, 7)), ((25, 25), (13, 13)), ((1, 1), (2, 2))],
)
def test_a_grid_that_fits_no_stride_is_refused(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    image = TensorInfo(0, "image", (1, *size, 3), FLOAT)
    with pytest.raises(ModelError, match=f"{size[0]}x{size[1]} and {grid[0]}x{grid[1]} cells"):
        decoders.recognise([image], infos(NAMED[0], grid), FamilyContext())


def test_what_is_no_posenet() -> None:
    wrong = [
        infos(NAMED[0][:3]),
        infos(NAMED[0][1:]),
        [*infos(NAMED[0][:3]), TensorInfo(9, "bwd", (1, 5, 5, 32), FLOAT)],
        [TensorInfo(1, "nchw", (1, 17, *GRID), FLOAT), *infos(NAMED[0][1:])],
    ]
    for outputs in wrong:
        assert posenet.recognise([IMAGE], outputs, FamilyContext()) is None
    with pytest.raises(ModelError, match="expected auto, tfjs or coral"):
        posenet.recognise([IMAGE], infos(NAMED[0]), FamilyContext(decoder="best"))
