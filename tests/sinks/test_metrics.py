"""The metrics page: the telemetry's names and numbers, as Prometheus itself reads them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, free_port, wait_until
from pages import TOKEN, LivePage, live_page
from programs import ROOT
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = ROOT / "contrib" / "grafana" / "edgecam.json"
SCENE = """
[[zone]]
name = "path"
polygon = [[0.3, 0.35], [0.98, 0.35], [0.98, 0.75], [0.55, 0.8]]
"""
BEARER = f"Bearer {TOKEN}"
# What a query names that is no metric: functions and words of PromQL, and labels.
NO_METRICS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:sum|max|min|avg|rate|increase) ?|by ?\([^)]*\)")
UNITS = "metric names should not contain abbreviated units"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    """With a token, a broker, a zone and a warm board: everything that can be reported."""
    folder = tmp_path_factory.mktemp("metrics")
    broker = Mosquitto(folder)
    broker.start()
    (folder / "token").write_text(TOKEN)
    (folder / "scene.toml").write_text(SCENE)
    (folder / "thermal_zone0").mkdir()
    (folder / "thermal_zone0" / "temp").write_text("48250")
    given = {
        "EDGECAM_MQTT_URL": broker.url,
        "EDGECAM_THERMAL_DIRECTORY": str(folder),
        "EDGECAM_WEB_TOKEN_FILE": str(folder / "token"),
    }
    with live_page(folder, "--name", "front", "--config", folder / "scene.toml", **given) as made:
        made.daemon.wait_ready()
        # Rates and percentiles have something to say.
        assert wait_until(lambda: "edgecam_invoke_ms{" in text_of(made), 20)
        yield made
    broker.kill()


def text_of(page: LivePage, accept: str = "text/plain") -> str:
    return page.ask("GET", "/metrics", Authorization=BEARER, Accept=accept)[2]


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def numbers(reported: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a telemetry message and its dotted key."""
    if isinstance(reported, dict):
        for key, value in reported.items():
            yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(reported, (int, float)):
        yield path, float(reported)


def test_every_number_of_the_telemetry_is_there_under_its_name(page: LivePage) -> None:
    got = asyncio.run(page.follow(25, pictures=False, Authorization=BEARER))
    reports = [part["report"] for part in got if isinstance(part, dict) and "report" in part]
    reported = reports[-1]["telemetry"]
    text = text_of(page)
    names = {name for name, _ in samples(text)}
    for key, _ in numbers(reported):
        # Counters of the broker are among the others; faults differ by a label.
        if key.startswith(("mqtt.counters", "schema", "sequence")):
            continue
        bare = re.sub(r"^counters\.|\.(p50|p95|captured|inferred|published|laps)$", "", key)
        name = f"edgecam_{bare.replace('.', '_')}"
        assert {name, f"{name}_total"} & names, key
    assert reported["throttled"] is None
    assert "throttled" not in text
    found = samples(text)
    label = ("name", "front")
    assert found["edgecam_temperature_c", frozenset({label})] == 48.25
    assert found["edgecam_source_state", frozenset({label, ("state", "online")})] == 1
    assert found["edgecam_source_state", frozenset({label, ("state", "offline")})] == 0
    assert found["edgecam_mqtt_state", frozenset({label, ("state", "connected")})] == 1
    model = ("model", reported["models"][0]["name"])
    stage = frozenset({label, model, ("percentile", "50")})
    assert found["edgecam_model_invoke_ms", stage] == pytest.approx(
        reported["invoke_ms"]["p50"], 0.5
    )
    inferred = found["edgecam_fps", frozenset({label, ("stage", "inferred")})]
    assert inferred == pytest.approx(reported["fps"]["inferred"], 0.5)


def test_counts_and_events_are_there(page: LivePage) -> None:
    def value(name: str, **labels: str) -> float:
        return samples(text_of(page))[name, frozenset({"name": "front", **labels}.items())]

    assert wait_until(lambda: value("edgecam_in_picture", label="person") >= 3, 20)
    assert value("edgecam_in_zone", zone="path", label="person") >= 0
    assert value("edgecam_events_total", event_type="appeared") >= 3
    assert value("edgecam_events_total", event_type="fall") == 0


def test_it_asks_for_the_token_as_everything_does(page: LivePage) -> None:
    assert page.ask("GET", "/metrics")[0] == 401
    assert page.ask("GET", "/metrics", Authorization=BEARER, Host="evil.example")[0] == 421


def test_promtool_finds_nothing_but_our_units(page: LivePage) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text_of(page),
        capture_output=True,
        text=True,
        check=False,
    )
    faults = [line for line in done.stderr.splitlines() if line and UNITS not in line]
    # The telemetry's keys end in their unit, and so do the metrics: _ms and _s on purpose.
    assert faults == []
    assert done.returncode in (0, 3)


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_that_there_are(page: LivePage) -> None:
    names = {name for name, _ in samples(text_of(page))}
    assert len(queries()) >= 20
    for query in queries():
        asked = re.findall(r"[a-z_]{3,}", NO_METRICS.sub("", query))
        assert len(asked) == 1, query
        assert asked[0] in names, query


def test_the_dashboard_is_what_grafana_imports() -> None:
    """Grafana's own library reads it; its panels have all their queries and do not overlap."""
    dashboards = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason="needs grafana-foundation-sdk"
    )
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    # What it knows of panels and of Prometheus' queries.
    register_default_plugins()
    reported = json.loads(DASHBOARD.read_text())
    read = dashboards.Dashboard.from_json(reported)
    assert read.uid == "edgecam"
    assert read.templating.list_val[0].name == "name"
    assert [panel.title for panel in read.panels] == [
        panel["title"] for panel in reported["panels"]
    ]
    assert [t.expr for p in read.panels for t in p.targets] == queries()
    ids = [panel["id"] for panel in reported["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in reported["panels"]]
    cells = {
        (x, y)
        for p in places
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    }
    assert len(cells) == sum(p["w"] * p["h"] for p in places)
    assert max(x for x, _ in cells) < 24


def ask_prometheus(port: int, path: str, **parameters: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)["data"]


@pytest.mark.long
def test_a_real_prometheus_scrapes_it_and_answers_every_panel(
    page: LivePage, tmp_path: Path
) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("Prometheus is not installed (Debian: apt install prometheus)")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 6s}\n"
        "scrape_configs:\n"
        "- job_name: edgecam\n"
        f"  authorization: {{credentials_file: {token}}}\n"
        f"  static_configs: [{{targets: ['{page.host}']}}]\n"
    )
    port = free_port()
    options = (f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}")
    address = f"--web.listen-address=127.0.0.1:{port}"
    with subprocess.Popen([prometheus, *options, address], stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(25)
            (target,) = ask_prometheus(port, "targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            for query in queries():
                plain = query.replace("$name", ".*").replace("$__rate_interval", "24s")
                assert ask_prometheus(port, "query", query=plain)["result"], query
            evicted = ask_prometheus(port, "query", query="edgecam_web_evicted_total")
            # A connection that is kept between two scrapes is let go, not cut off.
            assert [series["value"][1] for series in evicted["result"]] == ["0"]
        finally:
            process.terminate()
