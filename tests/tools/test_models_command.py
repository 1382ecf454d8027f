"""Published models: pulled from a server that fails in every way, pinned, converted, run."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from servers.files import FileServer
from test_convert_command import posenet as tfjs_posenet

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert import download, published, pull
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.pull import PINS

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="converts with ai-edge-litert")

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"/file.bin": CONTENT}) as running:
        yield running


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that pulled models go to; what ships has no manifests but ours."""
    shipped = tmp_path / "shipped"
    (shipped / "published").mkdir(parents=True)
    monkeypatch.setattr(bundled, "directory", lambda: shipped)
    monkeypatch.setattr(bundled, "cards", lambda: ())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(download, "_BACKOFF_S", 0.001)
    return tmp_path / "data" / "edgecam" / "models"


def manifest(name: str, kind: str, url: str, *more: str) -> None:
    lines = [
        "[published]",
        'description = "a model"',
        'family = "posenet"',
        f'kind = "{kind}"',
        f'url = "{url}"',
        'named_by = "a test"',
        'licence = "Apache-2.0"',
        'publisher = "no one"',
        *more,
    ]
    path = bundled.directory() / "published" / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["models", *map(str, arguments)])


def fetch(server: FileServer, target: Path, path: str = "/file.bin") -> list[int]:
    """Download; return how many bytes were there at each report."""
    seen: list[int] = []
    digest = download.fetch(
        server.url + path, target, lambda done, _: seen.append(done), lambda _: None
    )
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    return seen


def test_a_transfer_that_breaks_off_is_resumed(server: FileServer, tmp_path: Path) -> None:
    server.break_off_after = [300_000, 200_000]
    seen = fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_the_next_run_goes_on_where_the_last_gave_up(server: FileServer, tmp_path: Path) -> None:
    server.break_off_after = [1000] * download.TRIES
    with pytest.raises(ConvertError, match="not downloaded in 5 tries"):
        fetch(server, tmp_path / "file.bin")
    assert [path.name for path in tmp_path.glob("*.part")] == ["file.bin.part"]
    assert not (tmp_path / "file.bin").exists()
    server.requests.clear()
    fetch(server, tmp_path / "file.bin")
    assert server.requests == [("/file.bin", "bytes=5000-")]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_mixed(server: FileServer, tmp_path: Path) -> None:
    server.break_off_after = [1000] * download.TRIES
    with pytest.raises(ConvertError):
        fetch(server, tmp_path / "file.bin")
    server.files["/file.bin"] = CONTENT[::-1]
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_whole_part_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()[:16]}"'
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.part.version").write_text(tag)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_is_down_for_a_while_is_tried_again(
    server: FileServer, tmp_path: Path
) -> None:
    server.statuses = [503, 500, 429]
    fetch(server, tmp_path / "file.bin")
    assert len(server.requests) == 4


def test_a_refusal_is_final(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="the server answers 404"):
        fetch(server, tmp_path / "x", "/gone")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tfjs_model_is_converted_on_arrival_and_runs(
    server: FileServer, models: Path, tmp_path: Path
) -> None:
    source = tfjs_posenet(tmp_path / "web", shard_bytes=4096)
    for file in source.parent.iterdir():
        server.files[f"/web/{file.name}"] = file.read_bytes()
    url = f"{server.url}/web/model.json"
    manifest("small", "tfjs", url, "[convert]", 'size = "33x33"', "half = true")
    server.break_off_after = [50, 100]
    done = run("pull", "small")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in models.iterdir() if path.is_file()) == [
        PINS,
        "small.tflite",
        "small.toml",
    ]
    model = Model(ModelSettings(path="small"), InferenceSettings(probe=False))
    assert model.decoder.family == "posenet"
    pins = json.loads((models / PINS).read_bytes())
    assert set(pins) == {f"{server.url}{path}" for path in server.files if "/web/" in path}
    assert len(pins) > 2
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [("small", "pulled")]
    assert url in run("show", "small").stdout
    assert run("verify").exit_code == 0


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return stream.getvalue()


def test_another_file_than_the_first_time_is_refused(server: FileServer, models: Path) -> None:
    original = (ROOT / "models" / "posenet_mobilenet_v1_075_int8.tflite").read_bytes()
    server.files["/p.tflite"] = original
    manifest("p", "tflite", f"{server.url}/p.tflite")
    assert run("pull", "p").exit_code == 0
    before = {path: path.read_bytes() for path in models.iterdir() if path.is_file()}
    server.files["/p.tflite"] = original[:-1] + b"\0"
    changed = run("pull", "p")
    assert changed.exit_code == 1
    assert "as the first download" in changed.stderr
    assert "nothing was installed" in changed.stderr
    assert changed.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in models.iterdir() if path.is_file()} == before
    server.files["/p.tflite"] = original
    assert run("pull", "p").exit_code == 0


def test_a_hash_in_the_manifest_beats_what_comes(server: FileServer, models: Path) -> None:
    manifest("p", "tflite", f"{server.url}/file.bin", f'sha256 = "{"0" * 64}"')
    done = run("pull", "p")
    assert done.exit_code == 1
    assert "as the manifest says" in done.stderr
    assert not [path for path in models.iterdir() if path.is_file()]


def test_what_is_no_model_is_not_installed(server: FileServer, models: Path) -> None:
    server.files["/login"] = b"<html>please log in</html>"
    manifest("page", "tflite", f"{server.url}/login")
    done = run("pull", "page")
    assert done.exit_code == 1
    assert done.stderr.startswith("edgecam: error: ")
    assert not list(models.glob("*.tflite"))
    manifest("web", "tfjs", f"{server.url}/login", "[convert]")
    assert "expected a TensorFlow.js model.json" in run("pull", "web").stderr
    server.files["/evil"] = json.dumps({"weightsManifest": [{"paths": ["../up"]}]}).encode()
    manifest("evil", "tfjs", f"{server.url}/evil", "[convert]")
    assert "weight files beside it" in run("pull", "evil").stderr


def test_a_login_page_or_a_file_cut_off_is_not_what_is_expected_ever_after(
    server: FileServer, models: Path
) -> None:
    original = (ROOT / "models" / "posenet_mobilenet_v1_075_fp16.tflite").read_bytes()
    manifest("p", "tflite", f"{server.url}/p.tflite")
    for came in (b"<html>Please log in to Hotel Wifi</html>", original[:500_000]):
        server.files["/p.tflite"] = came
        refused = run("pull", "p")
        assert refused.exit_code == 1
        assert refused.stderr.count("\n") == 1
        assert [path for path in models.iterdir() if path.is_file()] == []
    server.files["/p.tflite"] = original
    done = run("pull", "p")
    assert done.exit_code == 0, done.stderr
    assert (models / "p.tflite").read_bytes() == original
    assert f"{server.url}/p.tflite" in json.loads((models / PINS).read_bytes())


def test_an_answer_that_does_not_say_where_it_ends_is_refused(
    server: FileServer, models: Path
) -> None:
    server.says_length = False
    server.files["/p.tflite"] = CONTENT
    manifest("p", "tflite", f"{server.url}/p.tflite")
    refused = run("pull", "p")
    assert refused.exit_code == 1
    assert "does not say how long its answer is" in refused.stderr
    assert [path for path in models.iterdir() if path.is_file()] == []


def test_more_than_is_wanted_is_not_downloaded(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="at most 100000 bytes, found more"):
        download.fetch(f"{server.url}/file.bin", tmp_path / "x", lambda *_: None, max_bytes=100_000)
    assert list(tmp_path.glob("*.part")) == []


def test_labels_of_an_earlier_try_are_not_taken(server: FileServer, models: Path) -> None:
    left = models / ".download" / "p" / "labels.txt"
    left.parent.mkdir(parents=True)
    left.write_text("walker\n")
    server.files["/p.tflite"] = (
        ROOT / "models" / "posenet_mobilenet_v1_075_int8.tflite"
    ).read_bytes()
    manifest("p", "tflite", f"{server.url}/p.tflite")
    assert run("pull", "p").exit_code == 0
    assert not (models / "p_labels.txt").exists()


@pytest.mark.parametrize(
    "paths",
    [
        ["../up"],
        ["/x"],
        [".."],
        ["."],
        ["a/b"],
        ["model.json"],
        ["labels.txt"],
        ["x", "x"],
        ["x\n"],
        [1],
        [f"s{n}" for n in range(1001)],
        "xy/",
        None,
    ],
)
def test_names_of_weights_that_would_be_written_elsewhere_are_refused(
    server: FileServer, models: Path, paths: object
) -> None:
    text = json.dumps({"weightsManifest": [{"paths": paths}]})
    server.files["/model.json"] = text.encode()
    manifest("web", "tfjs", f"{server.url}/model.json", "[convert]")
    refused = run("pull", "web")
    assert refused.exit_code == 1
    assert "expected a TensorFlow.js model.json with weight files beside it" in refused.stderr
    assert len(server.requests) == 1
    assert [path for path in models.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("damage", ["lzma", "absent", "large", "link", "cut"])
def test_a_member_is_bounded_before_it_is_unpacked(
    server: FileServer, models: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    stream = io.BytesIO()
    if damage == "lzma":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("m.tflite", CONTENT)
    else:
        monkeypatch.setattr(pull, "MODEL_BYTES", 2_000_000)
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            big = tarfile.TarInfo("big")
            big.size = 3_000_000 if damage == "large" else 0
            tar.addfile(big, io.BytesIO(bytes(big.size)))
            info = tarfile.TarInfo("other" if damage == "absent" else "m.tflite")
            info.size = len(CONTENT)
            if damage == "link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info, io.BytesIO(CONTENT))
    packed = stream.getvalue()
    server.files["/m.tar.gz"] = packed[:-2000] if damage == "cut" else packed
    kind = "zip" if damage == "lzma" else "tar"
    manifest("m", kind, f"{server.url}/m.tar.gz", 'member = "m.tflite"')
    refused = run("pull", "m")
    assert refused.exit_code == 1
    assert "m.tar.gz: expected m.tflite in it: " in refused.stderr
    assert [path for path in models.iterdir() if path.is_file()] == []


def test_an_archive_gives_its_model_and_labels(server: FileServer, models: Path) -> None:
    model = (ROOT / "models" / "ssdlite_mobilenet_v2_pedestrian_int8.tflite").read_bytes()
    server.files["/m.zip"] = zipped(detect_tflite=model, labelmap_txt=b"walker\n")
    wanted = ('member = "detect.tflite"', 'labels_member = "labelmap.txt"')
    manifest("ssd", "zip", f"{server.url}/m.zip", *wanted)
    done = run("pull", "ssd")
    assert done.exit_code == 0, done.stderr
    loaded = Model(ModelSettings(path="ssd"), InferenceSettings(probe=False))
    assert loaded.decoder.labels == ("walker",)
    server.files["/m.zip"] = zipped(other=b"")
    manifest("ssd2", "zip", f"{server.url}/m.zip?2", *wanted)
    server.files["/m.zip?2"] = zipped(other=b"")
    assert "expected detect.tflite in it" in run("pull", "ssd2").stderr
    assert not (models / "ssd2.tflite").exists()


def test_every_manifest_names_its_source_and_no_hash_of_an_unseen_file() -> None:
    found = published.every()
    assert {model.name.split("_")[0] for model in found} == {"posenet", "movenet", "coco"}
    assert len(found) >= 7
    for model in found:
        assert model.entry.url.startswith("https://"), model.name
        assert model.entry.named_by.startswith("github.com/tensorflow/"), model.name
        assert model.entry.sha256 is None, model.name


def test_verify_finds_a_damaged_model(models: Path, server: FileServer) -> None:
    original = (ROOT / "models" / "posenet_mobilenet_v1_075_int8.tflite").read_bytes()
    server.files["/p.tflite"] = original
    manifest("p", "tflite", f"{server.url}/p.tflite")
    run("pull", "p")
    (models / "p.tflite").write_bytes(original[:-1] + b"\x01")
    done = run("verify")
    assert done.exit_code == 1
    assert "FAULT" in done.stdout
    assert "1 of 1 models" in done.stderr


def test_an_unknown_name_says_which_are_known(models: Path) -> None:
    manifest("p", "tflite", "https://example.org/p.tflite")
    done = run("pull", "q")
    assert done.exit_code == 1
    assert "known are: p" in done.stderr
    assert not models.exists()
