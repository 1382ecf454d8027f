"""Draws the efficiencies of benchmarks.csv as bars, for scripts/benchmarks.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 800, 370, 60, 14, 12, 46
COLOURS = {"edgecam": "#1f77b4", "sequential loop": "#bbbbbb"}


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write an SVG: for each model and number of threads a bar of every program's efficiency."""
    groups: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["what"] == "efficiency":
            name = f"{row['model']} {row['input']}, {row['threads']} thr."
            groups.setdefault(name, {})[row["who"]] = float(row["value"])
    scale = (WIDTH - LEFT - RIGHT) / max(1.0, *(max(bars.values()) for bars in groups.values()))
    height = TOP + len(groups) * (2 * BAR + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="18" font-size="13">Whole pipeline, share of the bare interpreter rate '
        "(same model, threads and run)</text>",
    ]
    for place, (who, colour) in enumerate(COLOURS.items()):
        x = LEFT + 130 * place
        parts.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="35">{who}</text>')
    y = TOP
    for name, bars in groups.items():
        label_y = y + BAR + 4
        parts.append(f'<text x="{LEFT - 8}" y="{label_y}" text-anchor="end">{name}</text>')
        for who, colour in COLOURS.items():
            share = bars.get(who, 0.0)
            end = LEFT + share * scale
            bar = f'x="{LEFT}" y="{y}" width="{share * scale:.1f}" height="{BAR - 2}"'
            parts.append(f'<rect {bar} fill="{colour}"/>')
            parts.append(f'<text x="{end + 5:.1f}" y="{y + BAR - 4}">{share:.2f}</text>')
            y += BAR
        y += GAP
    one = LEFT + scale
    parts.append(
        f'<line x1="{one:.1f}" y1="{TOP - 4}" x2="{one:.1f}" y2="{height - 8}" '
        'stroke="black" stroke-dasharray="3,3"/>'
    )
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
