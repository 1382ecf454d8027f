"""Fixtures that several test files share."""

from __future__ import annotations

import functools
import inspect
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click.testing
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from brokers import Mosquitto, Subscriber
from confinement import Confinement
from programs import ROOT

from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

if TYPE_CHECKING:
    from pages import LivePage

# Before click 8.2 a runner kept standard error apart only where it was asked to.
if "mix_stderr" in inspect.signature(click.testing.CliRunner).parameters:
    click.testing.CliRunner.__init__ = functools.partialmethod(  # type: ignore[assignment]
        click.testing.CliRunner.__init__, mix_stderr=False
    )
    click.testing.Result.output = property(  # type: ignore[assignment]
        lambda result: result.stdout + result.stderr
    )

CONFINEMENT = pytest.StashKey[Confinement]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--confined",
        action="store_true",
        help="PR_SET_MDWE for everything, 300 MB for each edgecam; leaves out what needs a JIT",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--confined"):
        config.stash[CONFINEMENT] = Confinement()


# A file that mostly waits begins first: beside others it costs no time, behind them all of it.
WAITING = frozenset({"test_board.py"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = Counter(item.path for item in items)
    # Files of most tests next: short ones fill what time is left at the end.
    items.sort(key=lambda item: (item.path.name not in WAITING, -tests[item.path]))
    if CONFINEMENT in config.stash:
        jit = pytest.mark.skip(reason="Chromium compiles at run time, which PR_SET_MDWE refuses")
        for item in items:
            if item.path.name == "test_web_browser.py":
                item.add_marker(jit)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[CONFINEMENT].reported if CONFINEMENT in config.stash else []


def pytest_unconfigure(config: pytest.Config) -> None:
    if CONFINEMENT in config.stash:
        config.stash[CONFINEMENT].close()


@pytest.fixture(autouse=True)
def state_directory(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that wait in one test are not sent by the next one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command that ran in this process sent edgecam's records to its own standard error."""
    logger = logging.getLogger("edgecam")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes brokers that are not started yet; they end with the test."""
    made: list[Mosquitto] = []

    def make(lines: str = "allow_anonymous true", port: int = 0) -> Mosquitto:
        made.append(Mosquitto(tmp_path, lines, port))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def mosquitto(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A running broker on a free loopback port."""
    broker = make_mosquitto()
    broker.start()
    return broker


@pytest.fixture
def sink(mosquitto: Mosquitto) -> Iterator[MqttSink]:
    """A camera called front, connected to ``mosquitto``."""
    opened = MqttSink(MqttSettings(url=mosquitto.url), "front", "b00t")
    assert opened.wait_connected(60)
    yield opened
    opened.close(0.5)


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    """Everything that is published on ``mosquitto``."""
    everything = Subscriber(mosquitto.port).ready()
    yield everything
    everything.close()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    """A live page beyond loopback."""
    from pages import far_page

    with far_page(tmp_path_factory.mktemp("far")) as page:
        yield page


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subscriber]:
    """All that is published on the broker of the page that is near."""
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    reader = Subscriber(broker.port).ready()
    yield reader
    reader.close()
    broker.kill()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, everything: Subscriber) -> Iterator[LivePage]:
    """A live page on loopback."""
    from pages import near_page

    with near_page(tmp_path_factory.mktemp("near"), everything.port) as page:
        yield page


@pytest.fixture(scope="session")
def tflite_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tflite-runtime 2.14 in it, which this environment need not have."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheels for Python 3.12 and later")
    folder = tmp_path_factory.mktemp("tflite-runtime")
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*command, "tflite-runtime==2.14.0"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"tflite-runtime cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built package."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("hatchling cannot be fetched: no package registry is reached")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built
