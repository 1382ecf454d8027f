"""The fleet as a table: lines of text, or a screen that is drawn again and scrolls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgecam.tools.fleet.state import STATES, LastEvent, Row, span, tally

# Key -> the column it sorts by. None comes last, whichever way round.
SORTS: Mapping[str, tuple[str, Callable[[Row], Any]]] = {
    "n": ("name", lambda row: row.name),
    "s": ("state", lambda row: STATES.index(row.state)),
    "f": ("fps", lambda row: row.fps),
    "l": ("latency", lambda row: row.latency_ms and -row.latency_ms),
    "t": ("temperature", lambda row: row.temperature_c and -row.temperature_c),
    "c": ("counts", lambda row: -sum(row.counts.values())),
    "e": ("event", lambda row: row.last_event and row.last_event.age_s),
}
COLORS = {"ok": "green", "paused": "cyan", "unknown": "yellow", "degraded": "yellow"}
WRONG = "red"
HEADINGS = ("name", "state", "fps", "ms", "°C", "counts", "last event")
# Which heading shows the arrow of which sort.
_HEADING_OF = {"latency": "ms", "temperature": "°C", "event": "last event"}


@dataclass(slots=True)
class View:
    """How a person wants to see it: sorted by a key of ``SORTS``, from the row ``first`` on."""

    sort: str = "s"
    is_reversed: bool = False
    first: int = 0

    def order(self, rows: Sequence[Row]) -> list[Row]:
        """Sorted; of equals by name."""
        key = SORTS[self.sort][1]
        known = [row for row in rows if key(row) is not None]
        known.sort(key=key, reverse=self.is_reversed)
        return known + [row for row in rows if key(row) is None]

    def press(self, key: str, number: int, page: int) -> None:
        """Take a key: one of ``SORTS``, again for the other way round, or one that scrolls."""
        if key in SORTS:
            self.is_reversed = key == self.sort and not self.is_reversed
            self.sort, self.first = key, 0
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        steps |= {"home": -number, "end": number}
        self.first = max(0, min(self.first + steps.get(key, 0), number - page))


def cells(row: Row) -> tuple[str, ...]:
    """The columns of ``HEADINGS`` as text."""
    return (
        row.name,
        row.state if row.why is None else f"{row.state}: {row.why}",
        _number(row.fps, 1),
        _number(row.latency_ms, 0),
        _number(row.temperature_c, 0),
        " ".join(f"{label} {number}" for label, number in row.counts.items() if number) or "-",
        _event(row.last_event),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _event(event: LastEvent | None) -> str:
    if event is None:
        return "-"
    where = f" {event.zone}" if event.zone else ""
    return f"{event.event_type}{where} {span(event.age_s)} ago"


def summary(rows: Sequence[Row]) -> str:
    """How many there are, and how many in each state."""
    states = ", ".join(f"{number} {state}" for state, number in tally(rows).items())
    cameras = "camera" if len(rows) == 1 else "cameras"
    return f"{len(rows)} {cameras}: {states}" if rows else "no camera"


def plain_table(rows: Sequence[Row]) -> str:
    """Aligned columns without a width limit."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 2 <= place <= 4 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def page_size(height: int) -> int:
    """How many instances fit on a screen of so many lines, beside title, headings and help."""
    return max(1, height - 3)


def screen(
    rows: Sequence[Row], view: View, fault: str | None, title: str, width: int, height: int
) -> Group:
    """The whole screen; ``fault`` says why the broker is not reached, else ``title`` is shown."""
    page = page_size(height)
    view.first = max(0, min(view.first, len(rows) - page))
    shown = view.order(rows)[view.first : view.first + page]
    head = Text(no_wrap=True, overflow="ellipsis")
    if fault is None:
        head.append(f"{title}  ", "bold").append(summary(rows))
    else:
        head.append(f"{fault}; trying again", f"bold {WRONG}")
    table = _table(view, width)
    for row in shown:
        color = COLORS.get(row.state, WRONG)
        texts = [Text(cell) for cell in cells(row)]
        texts[1].stylize(color, 0, len(row.state))
        table.add_row(*texts, style="dim" if fault is not None or row.state == "offline" else "")
    # The help stays at the bottom, also under few rows.
    blank = [Text("")] * (page - len(shown))
    return Group(head, table, *blank, _help(view, len(rows), page))


def _table(view: View, width: int) -> Table:
    made = Table(box=None, expand=True, width=width, padding=(0, 1, 0, 0), header_style="reverse")
    sorted_by = SORTS[view.sort][0]
    arrow = "▴" if view.is_reversed else "▾"
    for place, name in enumerate(HEADINGS):
        is_key = name == _HEADING_OF.get(sorted_by, sorted_by)
        made.add_column(
            Text(f"{name}{arrow}" if is_key else name),
            justify="right" if 2 <= place <= 4 else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=(8, 8, 5, 5, 4, 6, 8)[place],
            max_width=24 if place == 0 else None,
            ratio=(None, 6, None, None, None, 2, 3)[place],
        )
    return made


def _help(view: View, number: int, page: int) -> Text:
    text = Text(style="dim", no_wrap=True, overflow="ellipsis")
    if number > page:
        last = min(number, view.first + page)
        text.append(f"{view.first + 1}-{last} of {number}  ", "bold")
    # What is cut at the right is what matters least.
    text.append("q ends  arrows scroll  sort: ")
    text.append("  ".join(f"{key} {name}" for key, (name, _) in SORTS.items()))
    return text
