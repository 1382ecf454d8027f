"""Rich's console, with the text of every table and line made printable first."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from edgecam.core.printable import MAX_LINE, printable

# In a pipe or a file a line has no width: what reads it looks for whole names and digests.
UNBOUNDED = 10_000


class Console(RichConsole):
    """Rich's markup and colours of numbers are off: what is printed are names from outside.

    Elsewhere than on a terminal nothing is wrapped or cut.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, file=file, highlight=False, markup=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = UNBOUNDED

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of ``renderable``, those that Rich itself makes for the cursor included."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                lines = (printable(line, MAX_LINE) for line in segment.text.split("\n"))
                yield Segment("\n".join(lines), segment.style)
