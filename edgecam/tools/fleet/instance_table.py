"""What is known of an instance as a table in a terminal."""

from __future__ import annotations

from rich.table import Table

from edgecam.messages.telemetry import Percentiles, Telemetry
from edgecam.tools.fleet.instance import Snapshot

_PEOPLE = "skeletons in the last picture"
_BOXES = "boxes of the detector in it"
_COUNT = "followed from picture to picture"


def _ms(value: Percentiles | None) -> str:
    return "" if value is None else f"{value.p50:.1f} (p95 {value.p95:.1f})"


def _telemetry_rows(report: Telemetry) -> list[tuple[str, str]]:
    rows = [
        ("preprocess, ms", _ms(report.preprocess_ms)),
        ("invoke, ms", _ms(report.invoke_ms)),
        ("decode, ms", _ms(report.decode_ms)),
        ("capture to publish, ms", _ms(report.capture_to_publish_ms)),
        ("dropped frames", str(report.dropped)),
        ("runtime", report.runtime or ""),
        ("delegate", report.delegate or ""),
        ("threads", str(report.threads)),
    ]
    if report.temperature_c is not None:
        rows.append(("temperature, °C", f"{report.temperature_c:.0f}"))
    if report.rss_bytes is not None:
        rows.append(("memory, MB", f"{report.rss_bytes / 1e6:.0f}"))
    return rows


def table(shown: Snapshot) -> Table:
    """Draw what the subscriber knows."""
    made = Table(title=f"edgecam/{shown.name}, as received over MQTT", min_width=56)
    made.add_column("", no_wrap=True)
    made.add_column("now", justify="right", no_wrap=True)
    made.add_column("what it is", overflow="fold")
    made.add_row("availability", shown.available or "starting")
    made.add_row("results", str(shown.results))
    made.add_row("frames per second", f"{shown.fps:.1f}")
    made.add_row("people", "" if shown.people is None else str(shown.people), _PEOPLE)
    made.add_row("boxes", "" if shown.boxes is None else str(shown.boxes), _BOXES)
    for label, number in sorted(shown.counts.items()):
        made.add_row(f"count/{label}", str(number), _COUNT)
    if shown.age_s is not None:
        made.add_row("last result, s ago", f"{shown.age_s:.1f}")
    if shown.telemetry is not None:
        for row in _telemetry_rows(shown.telemetry):
            made.add_row(*row)
    return made
