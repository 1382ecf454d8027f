"""One target for each parser of bytes that come from outside: seeds, tokens and what may be said.

A target takes any bytes and ends without an exception: what its parser may raise, it takes.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import socket
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np

from edgecam.cli.commands.status import _lines as status_lines
from edgecam.core.errors import EdgecamError
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.daemon.remote_control import RemoteControl
from edgecam.daemon.status_socket import Status
from edgecam.inference import catalog, labels
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.settings.load import parse_toml
from edgecam.settings.schema import Settings
from edgecam.sinks.recorder import file as recording
from edgecam.sinks.recorder import replay
from edgecam.sinks.web.server import MAX_BODY_BYTES
from edgecam.sources import http_get
from edgecam.sources import url as urls
from edgecam.sources.mjpeg import kind_of
from edgecam.sources.multipart import MultipartReader
from edgecam.sources.picture import decode_image
from edgecam.sources.supervised import StreamError
from edgecam.sources.video_size import stated_sizes
from edgecam.tools.convert import graphdef, lower, tfjs
from edgecam.tools.convert.graph import ConvertError, Graph
from edgecam.tools.convert.pull import PINS
from edgecam.tools.convert.relabel import relabel
from edgecam.tools.convert.rewrite import part
from edgecam.tools.fleet.state import Fleet

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
MODELS = sorted((ROOT / "models").glob("*.tflite"))


@dataclass(frozen=True)
class Target:
    """``ends_bytes``: where a seed is long, the parser looks at so much of both its ends."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...]
    ends_bytes: int = 0
    max_bytes: int = 1 << 30


TARGETS: dict[str, Target] = {}


def target(
    seeds: Callable[[], list[bytes]],
    *tokens: bytes,
    ends_bytes: int = 0,
    max_bytes: int = 1 << 30,
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def add(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        name = run.__name__
        TARGETS[name] = Target(run, functools.cache(seeds), tokens, ends_bytes, max_bytes)
        return run

    return add


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="edgecam-fuzz-"))


def _written(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _refused(error: Exception, secret: str | None = None) -> None:
    """What a person reads is one line, not the file again, and no secret."""
    text = str(error)
    assert secret is None or secret not in text, text
    assert "\n" not in text, text[:500]
    assert len(text) < 2000, text[:500]


def label_files() -> list[bytes]:
    found = [b"person\nbicycle\n", b"0: person\n1 car\n3, dog\n", b"\xef\xbb\xbfa\r\nb\r\n"]
    found += [b'item {\n  name: \'/m/01\'\n  id: 1\n  display_name: "per\\"son"\n}\nitem{id:3}\n']
    return found + [path.read_bytes() for path in sorted((SHARED / "models").glob("*.txt"))]


@target(
    label_files,
    *(b"item", b"{", b"}", b"id:", b"id: 9", b"name", b": ", b'"', b"'", b"\\", b"\n", b"\0"),
    *("²".encode(), "٣".encode(), b" ", b"a", b"1", b"item{", b'a:"'),
)
def label_file(data: bytes) -> None:
    try:
        found = labels.parse(data, "x")
    except EdgecamError as error:
        _refused(error)
    else:
        assert all(found)


def settings_texts() -> list[bytes]:
    scene = b"[[zone]]\nname = 'a'\npolygon = [[0, 0], [0.5, 0.5], [1, 0]]\n"
    lines = b"[[line]]\nname = \"b\"\nstart = [0.1, 0]\nend = [1, 1]\n[[mask]]\nname = 'c'\n"
    more = b"name = '''x'''\nmax_frames = 0x1F # y\n[decode]\nmax_poses = 1\n"
    return [scene, lines, more, scene + lines]


@target(
    settings_texts,
    *(b"a.", b"a", b"[", b"]", b"[[", b"{", b"}", b"=", b"a=1\n", b'"', b"'", b'"""', b"'''"),
    *(b"\\", b"\n", b"#", b",", b"0", b"1e9", b"-inf", b"nan", b"1979-05-27", b"{a=", b"\\u0000"),
    *(b"zone", b"polygon", b"rtsp://a:b@c", b"password="),
    max_bytes=MAX_BODY_BYTES,
)
def toml_of_the_page(data: bytes) -> None:
    try:
        parse_toml(data, "zones")
    except EdgecamError as error:
        _refused(error)


CARD = b"""[model]
file = "m.tflite"
sha256 = "%s"
labels = "m.txt"
aliases = ["m"]
notes = ["n"]
""" % (b"a" * 64)


@target(lambda: [CARD], b"../", b"/", b"\\u0000", b'"', b"[", b"]", b"a.", b"=", b"\n", b"clip")
def card(data: bytes) -> None:
    try:
        found = catalog.read_card(_written("m.toml", data))
    except EdgecamError as error:
        _refused(error)
    else:
        assert found.file.parent == _folder()
        assert isinstance(found.aliases, tuple)


def models() -> list[bytes]:
    shared = sorted((SHARED / "models").glob("*.tflite"))
    return sorted((path.read_bytes() for path in (*MODELS, *shared)), key=len)[:6]


def last_ops() -> list[bytes]:
    """The last op of each model: a whole graph takes 30 ms to read, which is few runs."""
    found = []
    for data in models():
        graph = tflite_file.read(data).main
        op = graph.ops[-1]
        inputs = [place for place in op.inputs if not graph.tensors[place].is_constant]
        try:
            small = part(data, inputs, op.outputs)
            names = [str(place) for place in op.outputs]
            found.append(relabel(small, "x", MINUS_ONE_TO_ONE, names))
        except ConvertError:  # without ai-edge-litert
            return models()[:2]
    return sorted(found, key=len)


@target(last_ops, b"TFL3", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\4\0\0\0")
def flatbuffer(data: bytes) -> None:
    try:
        model = tflite_file.read(data, "m.tflite")
        for graph in model.subgraphs:
            for op in graph.ops[:100]:
                if op.is_custom:
                    tflite_file.custom_options(op, "m.tflite")
        found = tflite_metadata.metadata(model)
        tflite_metadata.normalization(found)
        labels.resolve(None, None, None, found)
    except EdgecamError as error:
        _refused(error)


def zips() -> list[bytes]:
    small = min(models(), key=len)
    found = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO(small)
        with zipfile.ZipFile(stream, "a", compression) as packed:
            packed.writestr("labels.txt", b"person\ncar\n" * 20)
            packed.writestr("other.txt", b"x" * 300)
        found.append(stream.getvalue()[len(small) :])
    return found


@functools.cache
def _base() -> bytes:
    return min(models(), key=len)


@target(zips, b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff", b"\0\0")
def packed_files(data: bytes) -> None:
    """The ZIP behind a model."""
    flatbuffer(_base() + data)


def flexbuffers() -> list[bytes]:
    from flatbuffers import flexbuffers as flex

    options = {"num_classes": 90, "max_detections": 10, "y_scale": 10.0, "use_regular_nms": False}
    return [bytes(flex.Dumps(options)), bytes(flex.Dumps({"a": [1, [2, {"b": "c"}]], "d": None}))]


@target(flexbuffers, b"\0", b"\xff", b"\x24", b"\x28", b"\1", b"a\0")
def options_of_an_op(data: bytes) -> None:
    op = tflite_file.FileOp("X", True, 1, (), (), data)
    try:
        tflite_file.custom_options(op, "m.tflite")
    except EdgecamError as error:
        _refused(error)


def graphs() -> list[bytes]:
    from test_convert_graphdef import SMALL, filled

    return [SMALL, SMALL + filled("a", 1 << 10)]


def _lowered(graph: Graph) -> None:
    """As ``convert`` does for a picture of 32 pixels."""
    for name in graph.inputs[:1]:
        lower.lower(graph, {name: (1, 32, 32, 3)})


@target(
    graphs,
    *(b"\x0a", b"\x12", b"\x1a", b"\x2a", b"\x0a\x05Const", b"value", b"\xff" * 9 + b"\1", b"\x08"),
    *(b"Identity", b"Placeholder", b"Fill", b"Add", b"Conv2D", b"Reshape", b"\x42", b"\x80\x80"),
)
def graph_def(data: bytes) -> None:
    try:
        _lowered(graphdef.parse(data, "m.pb"))
    except ConvertError as error:
        _refused(error)


def topologies() -> list[bytes]:
    def node(name: str, op: str, *inputs: str, **attributes: object) -> dict[str, object]:
        return {"name": name, "op": op, "input": inputs, "attr": attributes}

    shape = {"dim": [{"size": str(side)} for side in (1, 32, 32, 3)]}
    nodes = [
        node("x", "Placeholder", dtype={"type": "DT_FLOAT"}, shape={"shape": shape}),
        node("w", "Const", value={"tensor": {"dtype": "DT_FLOAT", "tensorShape": {}}}),
        node("y", "Conv2D", "x", "w", strides={"list": {"i": ["1", "2", "2", "1"]}}),
        node("z", "Relu6", "y", T={"type": 1}, data_format={"s": "TkhXQw=="}, e={"f": 0.5}),
    ]
    weights = [{"name": "w", "shape": [1, 1, 3, 4], "dtype": "float32"}]
    less = {"quantization": {"dtype": "uint8", "scale": 0.1, "min": -1}}
    found = []
    for entry in (weights[0], {**weights[0], **less}):
        groups = [{"paths": ["a.bin"], "weights": [entry]}]
        document = {"modelTopology": {"node": nodes}, "weightsManifest": groups}
        found.append(json.dumps(document).encode())
    return found


@target(
    topologies,
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"null", b"1e999", b"-1", b"9" * 5000, b"true"),
    *(b'"a.bin"', b'"../a.bin"', b'"size"', b'"dim"', b'"list"', b'"weights"', b'"x"', b'"Fill"'),
)
def model_json(data: bytes) -> None:
    for name, size in (("a.bin", 48), ("b.bin", 12)):
        if not (_folder() / name).exists():
            _written(name, bytes(size))
    try:
        _lowered(tfjs.read(_written("model.json", data)))
    except ConvertError as error:
        _refused(error)


@target(lambda: [b'{"https://a.example/x": "%s"}' % (b"a" * 64)], b"{", b"[", b'"', b":", b"\\u")
def pins(data: bytes) -> None:
    from edgecam.tools.convert.pull import _pinned

    try:
        found = _pinned(_written(PINS, data))
    except ConvertError as error:
        _refused(error)
    else:
        assert all(isinstance(value, str) for value in found.values())


def telemetry() -> list[bytes]:
    from test_web import report_at

    return [msgspec.json.encode(report_at(1.0))]


def statuses() -> list[bytes]:
    from test_web import report_at

    status = Status(name="a", pid=1, faults=("b",), telemetry=report_at(1.0))
    return [msgspec.json.encode(status)]


# Deeper than a parser that calls itself goes.
DEEP = b'{"x":' + b"[" * 5000
JSON = (
    DEEP,
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"null",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"\\ud800",
)


@target(statuses, *JSON, b'"telemetry"', b'"faults"')
def status(data: bytes) -> None:
    """What ``edgecam status`` is answered."""
    try:
        found = msgspec.json.decode(data, type=Status)
    except (ValueError, RecursionError):
        return
    list(status_lines(found))


class _Broker:
    """Hands a command to the subscriber."""

    def subscribe(self, topic_filter: str, callback: Callable[[str, bytes, bool], None]) -> None:
        del topic_filter
        self.callback = callback

    def keep_only(self, *_: object) -> None: ...

    def publish_state(self, setting: str, payload: bytes) -> None:
        json.loads(payload) if setting != "pause" else payload.decode()


@functools.cache
def _remote() -> _Broker:
    broker = _Broker()
    allow = ["pause", "decode.score_threshold", "decode.max_poses", "snapshot"]
    RemoteControl(msgspec.convert({"remote": {"allow": allow}}, Settings), broker, lambda: None)
    return broker


@target(
    lambda: [b"pause\nON", b"decode_score_threshold\n0.5", b"decode_max_poses\n3", b"snapshot\n"],
    *(b"1e999", b"nan", b"-inf", b"\0", b"\xff", b"\n", b"0x1", b"1_0", b" ", b"true", b"9" * 40),
    *("²".encode(), b"decode_", b"pause"),
)
def command(data: bytes) -> None:
    """A topic and a payload as a broker brings them."""
    topic, _, payload = data.partition(b"\n")
    _remote().callback(f"edgecam/camera/set/{topic.decode('utf-8', 'replace')}", payload, False)


@target(
    lambda: (
        [b"edgecam/a/telemetry\n" + text for text in telemetry()]
        + [
            b"edgecam/a/telemetry\n" + DEEP,
            b"edgecam/a/count/person\n3",
            b"edgecam/a/availability\nonline",
            b"edgecam/a/event\n{}",
        ]
    ),
    *(*JSON, b"edgecam/", b"/", b"event\n", b"count/", "²".encode()),
)
def message_to_top(data: bytes) -> None:
    topic, _, payload = data.partition(b"\n")
    fleet = Fleet()
    fleet.take(topic.decode("utf-8", "replace"), payload, False, 1.0, 2.0)
    fleet.rows(2.0)


def recordings() -> list[bytes]:
    """The text of recordings, unpacked."""
    from test_recorder import Flight, settings, street

    with tempfile.TemporaryDirectory() as folder:
        flight = Flight(settings(Path(folder), events=["dwelling", "line_crossed"]))
        for result in street():
            flight.see(result)
        flight.recorder.close()
        texts = [gzip.decompress(path.read_bytes()) for path in flight.files()]
    return [b"".join(text.splitlines(keepends=True)[:8]) for text in texts]


@target(recordings, *JSON, b"\n", b'"found"', b'"xy"', b'"checkpoint"', b'"jpeg"', b"NaN")
def recording_text(data: bytes) -> None:
    """A recording with its checkpoint, read and replayed."""
    packed = gzip.compress(data, 1)
    try:
        found = recording.read(_written(f"x{recording.SUFFIX}", packed))
        for result in replay.results(found):
            assert result.frame.width_px
    except EdgecamError as error:
        _refused(error)


@target(lambda: [gzip.compress(text) for text in recordings()], b"\x1f\x8b\x08", b"\0" * 8, b"\xff")
def recording_gzip(data: bytes) -> None:
    try:
        recording.read(_written(f"y{recording.SUFFIX}", data))
    except EdgecamError as error:
        _refused(error)


def pictures() -> list[bytes]:
    from edgecam.core.opencv import cv2

    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    kinds = (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm")
    return [cv2.imencode(kind, image)[1].tobytes() for kind in kinds]


@target(
    pictures,
    *(b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xc4", b"\xff\xda", b"\xff\x01", b"\xff"),
    *(b"IHDR", b"IEND", b"RIFF", b"BM", b"\x27\x10", b"\xff\xe1", b"P6 ", b"VP8X", b"ANMF"),
)
def picture(data: bytes) -> None:
    """The walker of headers, and what OpenCV does with what passes."""
    try:
        image = decode_image(data)
    except EdgecamError as error:
        _refused(error)
    else:
        assert image.shape[2] == 3


def video_heads() -> list[bytes]:
    from test_video_size import matroska, mp4

    return [mp4(640, 480), matroska(640, 480)]


@target(
    video_heads,
    *(
        b"moov",
        b"trak",
        b"stsd",
        b"vmhd",
        b"\0\0\0\x08",
        b"\0\0\0\1",
        b"\xff",
        b"\x01" + b"\xff" * 7,
    ),
    *(b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0", b"\xb0\x82", b"\0\0\0\0"),
)
def video_head(data: bytes) -> None:
    with _written("x.mp4", data).open("rb") as file:
        for size in stated_sizes(file):
            assert min(size) >= 0


def streams() -> list[bytes]:
    jpeg = pictures()[0]
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
    return [
        (head + jpeg + b"\r\n") * 2,
        (b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg) * 2 + b"\r\n--frame--",
    ]


@target(
    streams,
    *(b"--frame", b"--", b"\r\n", b"\r\n\r\n", b"\n", b"Content-Length: ", b"9" * 20, b":", b" "),
    *(b"\xff\xd8", b"\xff\xd9", "²".encode("latin-1"), b"-1"),
)
def multipart(data: bytes) -> None:
    """Parts of a stream that comes in pieces of 1,000 bytes, with its boundary named and not."""
    for boundary in ("frame", None):
        pieces = iter([data[at : at + 1000] for at in range(0, len(data), 1000)])
        reader = MultipartReader(boundary, lambda pieces=pieces: _next(pieces))
        try:
            while True:
                reader.next_part()
        except StreamError as error:
            _refused(error)


def answers() -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
    digest = b'WWW-Authenticate: Digest realm="a", nonce="b", qop="auth", algorithm=MD5\r\n'
    return [
        head + b"\r\n" + streams()[0],
        head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\n" + digest + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1/x?y=z\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 9\r\n\r\n123456789",
    ]


@target(
    answers,
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/", b"\r\n", b"\r", b"\n", b" "),
    *(b"Location: ", b"http://[", b"ftp://", b"//", b"\xff", b"\0", b"Basic", b"Digest ", b'"'),
    *(b"Content-Length: ", b"9" * 30, b"Transfer-Encoding: chunked\r\n", b"ffffffff\r\n", b";"),
    max_bytes=60_000,
)
def http_answer(data: bytes) -> None:
    """What a camera's server says to a GET; each redirect leads to the same again."""
    url = urls.parse("http://eva:geheim@127.0.0.1/stream")
    with mock.patch.object(http_get, "connect", side_effect=lambda *_: _connected(data)):
        try:
            answer = http_get.Answer(url, time.monotonic() + 60.0)
            kind_of(answer)
            for _ in range(100):
                answer.receive()
        except StreamError as error:
            _refused(error, secret="geheim")


def _connected(data: bytes) -> socket.socket:
    """A connection on which all of it has come already."""
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    _THEIRS.append(theirs)
    while len(_THEIRS) > 10:
        _THEIRS.popleft().close()
    return ours


_THEIRS: deque[socket.socket] = deque()


def _next(pieces: Iterator[bytes]) -> bytes:
    """As a connection: at its end an outage."""
    for piece in pieces:
        return piece
    raise StreamError("ended", "the stream has ended")
