"""Reading and cutting model files: real files, every kind of damage, both runtimes' acceptance."""

from __future__ import annotations

import random
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from flatbuffers import flexbuffers

from edgecam.core import bounded_file
from edgecam.core.errors import ModelError
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite.cut import cut_custom_op
from edgecam.inference.tflite.graph import FileOp

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no model files at {SHARED}")


def interpreter_of(data: bytes):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


@needs_shared
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.tflite")), ids=lambda path: path.name)
def test_agrees_with_the_generated_schema_reader(path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    theirs = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    ours = tflite_file.read(path)
    assert ours.version == theirs.version
    assert ours.description == theirs.description.decode()
    graph = theirs.subgraphs[0]
    names = {
        value: key for key, value in vars(schema.BuiltinOperator).items() if not key.startswith("_")
    }
    types = {
        value: key for key, value in vars(schema.TensorType).items() if not key.startswith("_")
    }

    def op_name(index: int) -> str:
        code = theirs.operatorCodes[index]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return code.customCode.decode() if code.customCode else names[number]

    assert [op.name for op in ours.main.ops] == [op_name(op.opcodeIndex) for op in graph.operators]
    assert [op.inputs for op in ours.main.ops] == [tuple(op.inputs) for op in graph.operators]
    assert ours.main.inputs == tuple(graph.inputs)
    assert ours.main.outputs == tuple(graph.outputs)
    assert len(ours.main.tensors) == len(graph.tensors)
    for mine, their in zip(ours.main.tensors, graph.tensors, strict=True):
        assert mine.name == (their.name or b"").decode()
        assert mine.shape == tuple([] if their.shape is None else their.shape)
        assert mine.type == types[their.type]
        scale = None if their.quantization is None else their.quantization.scale
        assert mine.scales == tuple([] if scale is None else scale)
        stored = theirs.buffers[their.buffer].data if theirs.buffers else None
        assert mine.size_bytes == (0 if stored is None else len(stored))


@needs_shared
def test_names_custom_ops_and_edge_tpu() -> None:
    plain = tflite_file.read(SHARED / "mobilenet_v1_0.25_128_quant.tflite")
    assert tflite_file.custom_ops(plain) == ()
    compiled = tflite_file.read(
        SHARED / "posenet_mobilenet_v1_075_353_481_quant_decoder_edgetpu.tflite"
    )
    assert compiled.needs_edgetpu
    assert not plain.needs_edgetpu


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404", "text that begins '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (bytes(range(200, 232)), "bytes that begin c8 c9"),
        (b"\x1c\x00\x00\x00TFL3", "damaged or cut short"),
        (b"\xff\xff\xff\x7fTFL3" + b"\xff" * 64, "damaged or cut short"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        tflite_file.read(path)
    message = str(caught.value)
    assert expected in message
    assert str(path) in message
    assert "\n" not in message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        tflite_file.read(tmp_path / "absent.tflite")
    with pytest.raises(ModelError, match="is a folder: name the"):
        tflite_file.read(tmp_path)


@needs_shared
def test_truncation_and_flipped_bytes_raise_nothing_but_model_error() -> None:
    data = (SHARED / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    for length in (9, 100, 5000, len(data) // 2):
        with pytest.raises(ModelError, match="cut short"):
            tflite_file.read(data[:length])
    chance = random.Random(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(8):
            # Structure lies at both ends of a file, weights in between.
            place = chance.choice(
                [chance.randrange(8, 400), len(data) - chance.randrange(1, 30000)]
            )
            damaged[place] = chance.randrange(256)
        try:
            tflite_file.read(bytes(damaged))
        except ModelError:
            refused += 1
    assert refused > 100


@needs_shared
@pytest.mark.parametrize(
    ("file", "op", "channels"),
    [
        (
            "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite",
            tflite_file.POSENET_DECODER_OP,
            [17, 34, 64],
        ),
        (
            "posenet_mobilenet_v1_075_481_641_quant_decoder.tflite",
            tflite_file.POSENET_DECODER_OP,
            [17, 34, 64],
        ),
        (
            "ssd_mobilenet_v1_coco_quant_postprocess.tflite",
            tflite_file.SSD_POSTPROCESS_OP,
            [4, 91],
        ),
    ],
)
def test_a_cut_model_allocates_and_runs(file: str, op: str, channels: list[int]) -> None:
    whole = (SHARED / file).read_bytes()
    data = cut_custom_op(whole, op)
    model = tflite_file.read(data)
    assert tflite_file.custom_ops(model) == ()
    assert len(data) == len(whole)
    interpreter = interpreter_of(data)
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"],
        np.full(model.inputs[0].shape, 127, np.uint8),
    )
    interpreter.invoke()
    outputs = [
        interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()
    ]
    assert [output.shape[-1] for output in outputs] == channels
    with pytest.raises(ModelError, match="0 nodes"):
        cut_custom_op(data, op)


def with_op_in_the_middle(outputs_of_others: int) -> tuple[bytes, list[int]]:
    """Return Coral's model with a node after the decoder op, and what the op reads."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    path = SHARED / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph = model.subgraphs[0]
    decoder = graph.operators[-1]
    after = schema.TensorT()
    after.name, after.shape, after.buffer = "after", [1], 0
    graph.tensors.append(after)
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs = graph.operators[0].opcodeIndex, [decoder.outputs[0]]
    node.outputs = [len(graph.tensors) - 1]
    graph.operators.append(node)
    others = [graph.operators[index].outputs[0] for index in range(outputs_of_others)]
    graph.outputs = [node.outputs[0], *others]
    builder = flatbuffers.Builder(1 << 21)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), list(decoder.inputs)


@needs_shared
def test_a_cut_in_the_middle_takes_what_depends_on_it() -> None:
    data, expected = with_op_in_the_middle(outputs_of_others=0)
    before = tflite_file.read(data)
    after = tflite_file.read(cut_custom_op(data, tflite_file.POSENET_DECODER_OP))
    assert after.main.ops == before.main.ops[:-2]
    # One output became three: the list is longer than the one that it replaces.
    assert list(after.main.outputs) == expected


@needs_shared
def test_a_cut_without_room_for_the_outputs_is_refused() -> None:
    data, _ = with_op_in_the_middle(outputs_of_others=1)
    with pytest.raises(ModelError, match="no room for 4 outputs"):
        cut_custom_op(data, tflite_file.POSENET_DECODER_OP)


def aliased(tensors: int, subgraphs: int) -> bytes:
    """A model whose graphs are one graph, whose tensors are one tensor."""
    build = flatbuffers.Builder(1 << 20)

    def vector(offset: int, count: int) -> int:
        build.StartVector(4, count, 4)
        for _ in range(count):
            build.PrependUOffsetTRelative(offset)
        return build.EndVector()

    def table(slots: int, offsets: dict[int, int]) -> int:
        build.StartObject(slots)
        for slot, offset in offsets.items():
            build.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return build.EndObject()

    name = build.CreateString("t")
    rows = vector(table(4, {3: name}), tensors)
    graphs = vector(table(5, {0: rows}), subgraphs)
    buffers = vector(table(1, {}), 1)
    build.Finish(table(8, {2: graphs, 4: buffers}), tflite_file.IDENTIFIER)
    return bytes(build.Output())


def test_parts_that_share_their_place_do_not_take_more_than_their_file() -> None:
    assert len(tflite_file.read(aliased(5, 1)).main.tensors) == 5
    for tensors, subgraphs in ((1000, 2000), (20_000, 1)):
        with pytest.raises(ModelError, match="its parts overlap, or are too many"):
            tflite_file.read(aliased(tensors, subgraphs), "m.tflite")


def op_with(options: bytes) -> FileOp:
    return FileOp("X", True, 1, (), (), options)


def test_options_of_a_custom_op_are_numbers_of_a_map_and_nothing_else() -> None:
    packed = flexbuffers.Dumps({"num_classes": 90, "scale": 0.5, "fast": True, "list": [1, [2]]})
    found = tflite_file.custom_options(op_with(packed))
    assert found == {"num_classes": 90, "scale": 0.5, "fast": True}
    assert tflite_file.custom_options(op_with(b"")) == {}
    for damaged, expected in (
        (packed[:-1], "no map"),
        (b"\0", "damaged"),
        # A type that there is not.
        (packed[:-2] + b"\xff" + packed[-1:], "damaged"),
        (flexbuffers.Dumps([1]), "no map"),
        (flexbuffers.Dumps({"a": "b" * 5000}), "bytes, expected at most 4096"),
    ):
        with pytest.raises(ModelError, match=expected):
            tflite_file.custom_options(op_with(damaged))


def test_a_model_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_file, "MODEL_BYTES", 1000)
    with pytest.raises(ModelError, match="cannot be read: it is larger than 1000 bytes"):
        tflite_file.read("/dev/zero")
