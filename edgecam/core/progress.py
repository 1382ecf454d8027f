"""Bars of what takes a while."""

from __future__ import annotations

from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn

from edgecam.core.console import Console


class Progress(RichProgress):
    """Bars on standard error where that is a terminal, and nothing at all elsewhere."""

    def __init__(self, *columns: ProgressColumn, transient: bool = False) -> None:
        console = Console(stderr=True)
        hidden = not console.is_terminal
        super().__init__(*columns, console=console, transient=transient, disable=hidden)

    def stop(self) -> None:
        """Take the bars away."""
        # Rich 13.0 ends a line that it did not begin.
        if not self.disable:
            super().stop()
