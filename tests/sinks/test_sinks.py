"""The registry of the sinks."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

import pytest

from edgecam.core.errors import EdgecamError
from edgecam.settings.schema import MqttSettings, OutputSettings, Settings, WebSettings
from edgecam.settings.webhook import WebhookSettings
from edgecam.sinks import SINKS, open_sinks

ASKING = {
    "events": Settings(output=OutputSettings(events_jsonl="-")),
    "jsonl": Settings(output=OutputSettings(jsonl="-")),
    "mqtt": Settings(mqtt=MqttSettings(url="mqtt://broker")),
    "window": Settings(output=OutputSettings(show=True)),
    "web": Settings(web=WebSettings(listen="127.0.0.1:0")),
    "webhook": Settings(webhook=(WebhookSettings(name="hall", url_file="/none"),)),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_names_functions_that_are_there(name: str) -> None:
    kind = SINKS[name]
    assert callable(resolve_name(kind.opener))
    assert kind.check is None or callable(resolve_name(kind.check))


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_is_asked_for_by_its_own_setting_alone(name: str) -> None:
    assert not SINKS[name].is_asked(Settings())
    assert [n for n, kind in SINKS.items() if kind.is_asked(ASKING[name])] == [name]


def test_a_sink_is_made_of_the_name_and_its_own_settings() -> None:
    before, after = Settings(), Settings(mqtt=MqttSettings(keepalive_s=60))
    changed = [n for n, kind in SINKS.items() if kind.settings(before) != kind.settings(after)]
    assert changed == ["mqtt"]
    renamed = Settings(name="other")
    assert all(kind.settings(before) != kind.settings(renamed) for kind in SINKS.values())


def test_a_file_is_emptied_when_no_other_sink_can_refuse_any_more(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text("of the run before\n")
    settings = Settings(
        output=OutputSettings(jsonl=str(results)),
        mqtt=MqttSettings(url="mqtts://h", ca_file=str(tmp_path / "none")),
    )
    with pytest.raises(EdgecamError, match="none"):
        open_sinks(settings, "b")
    assert results.read_text() == "of the run before\n"
