"""The house rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgecam"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 64

# The rooms stand in pyproject.toml, where import-linter reads their order; scripts/check runs it.
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
ROOMS = next(c["layers"] for c in CONTRACTS["contracts"] if c["type"] == "layers")

# Third-party package -> the only module that may import it.
SINGLETONS = {
    "cv2": "core.opencv",
    "paho": "mqtt.connection",
    "picamera2": "sources.picamera",
    "iotcore": "mqtt.embedded_broker",
    "tflite_runtime": "inference.runtime",
    "ai_edge_litert": "inference.runtime",
    "tensorflow.lite": "inference.runtime",
    "prometheus_client": "sinks.web.metrics",
}


def modules() -> dict[str, Path]:
    """Dotted name below edgecam -> file; a package is its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


MODULES = modules()


# What runs the whole program against faults, or feeds every parser of outside bytes, has no room.
WHOLE = {"faults", "fuzz"}


def test_tests_mirror_the_rooms() -> None:
    rooms = {str(room).removeprefix("edgecam.").split(".")[0] for room in ROOMS}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == rooms - {"api", "__main__"} | WHOLE


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imported_names(path: Path) -> list[tuple[str, int]]:
    """Every dotted name that a file imports at any depth, also by importlib, and its line."""
    return list(found_imports(path))


def found_imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            arguments = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from ((str(value), node.lineno) for value in arguments)


def test_root_holds_the_rooms_and_no_other_file() -> None:
    files = {"__init__.py", "__main__.py", "api.py", "py.typed"}
    rooms = {layer.removeprefix("edgecam.") for layer in ROOMS} - {"__main__", "api"}
    found = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "data")}
    assert found == files | rooms


def test_rooms_import_one_way_and_without_circles() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def dotted_strings(path: Path) -> list[tuple[str, int]]:
    """Every string with a dot in it, and its line."""
    return [
        (node.value, node.lineno)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value
    ]


def mentions(path: Path, package: str) -> list[int]:
    """Lines that import a package; a string that is a dotted name in it counts too."""
    name = re.compile(re.escape(package) + r"(\.\w+)*")
    # One word alone may be the name of a distribution, or a word.
    named = (*imported_names(path), *dotted_strings(path))
    return [line for found, line in named if name.fullmatch(found)]


@pytest.mark.parametrize("package", SINGLETONS)
def test_is_imported_in_one_file(package: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{line} imports {package}"
        for module, path in MODULES.items()
        if module != SINGLETONS[package] and not module.startswith("tools.convert.")
        for line in mentions(path, package)
    ]
    assert not offences, "\n".join(offences)


def test_files_and_functions_are_short() -> None:
    offences = []
    for path in MODULES.values():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            offences.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    offences.append(f"{where} {node.name}: {length} lines")
    assert not offences, "split these:\n" + "\n".join(offences)


def test_every_public_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for module, path in MODULES.items()
        if module != "__main__" and ast.get_docstring(tree(path)) is None
    ]
    assert not silent


# Spelt in two parts, or this file would find itself.
UNFINISHED = re.compile(
    "|".join(
        (
            r"\bTO" + r"DO\b",
            r"\bFIX" + r"ME\b",
            r"\bXX" + r"X\b",
            "NotImplemented" + "Error",
            "pragma: no " + "cover",
            r"mark\.x" + "fail",
        )
    )
)


def test_nothing_is_left_unfinished() -> None:
    folders = ("edgecam", "tests", "scripts", "systemd", ".ci")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in files:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found = UNFINISHED.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def swallows(handler: ast.ExceptHandler) -> bool:
    if handler.type is not None and ast.unparse(handler.type) not in ("Exception", "BaseException"):
        return False
    return all(
        isinstance(step, ast.Pass | ast.Continue)
        or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
        for step in handler.body
    )


def test_no_fault_is_swallowed() -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    ]
    assert not offences


HEAVY = (
    "cv2",
    "rich",
    "asyncio",
    "aiohttp",
    "paho",
    "iotcore",
    "unittest",
    "multiprocessing",
    "tensorflow",
)


def loaded_by(code: str) -> set[str]:
    """The packages that are loaded after ``code`` ran in a fresh process."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


def test_start_up_is_light() -> None:
    assert not loaded_by("import edgecam.cli.main") & set(HEAVY)


def test_a_model_is_loaded_without_openssl() -> None:
    """It would be 3.4 MB of memory, and time, for the sum of a small file."""
    code = (
        "from edgecam.daemon import run\n"
        "from edgecam.inference.model import Model\n"
        "from edgecam.settings.schema import InferenceSettings, ModelSettings\n"
        "Model(ModelSettings(path='posenet-int8'), InferenceSettings(probe=False))\n"
    )
    others = loaded_by("import cv2\nfrom edgecam.inference import runtime\nruntime.find()")
    assert not (loaded_by(code) - others) & {"_hashlib", "_ssl"}
