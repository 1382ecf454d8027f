"""The page about events, made of what each rule's file says of itself."""

from __future__ import annotations

import inspect
import sys

from edgecam.analysis import smoothing
from edgecam.analysis import tracker as tracking
from edgecam.analysis.events import body, kind_of
from edgecam.core.rules import RULES

HEAD = """# Events

An event is JSON on `edgecam/<name>/event` and, with `--events FILE`, a line of a file; its keys are
in [messages](messages.md#event), the settings named here in [settings](settings.md). Rules know no
clock but the frames': a recording gives the same events on every run. This page is written by
`scripts/make-reference` from the rules' own files.

```toml
[[zone]]                        # corners in fractions of the frame's width and height
name = "door"
polygon = [[0.55, 0.3], [0.9, 0.3], [0.9, 1.0], [0.55, 1.0]]
labels = ["person"]             # whom it is for; nothing is everybody
inside = "box_bottom"           # or box_centre, ankle, hips, keypoint
dwell_s = 20

[[mask]]
name = "sofa"
polygon = [[0.0, 0.5], [0.4, 0.5], [0.4, 0.8], [0.0, 0.8]]
inside = "hips"
excludes = ["posture", "fall"]  # "all" drops whatever is found there

[[line]]
name = "gate"
start = [0.2, 0.9]
end = [0.8, 0.9]
crossed_by = "box_bottom"       # or box_centre, hips, wrist
```
"""
SECTIONS = (
    ("Tracks", tracking),
    ("Smoothing", smoothing),
    ("Body", body),
    *((rule.title, sys.modules[rule.__module__]) for rule in map(kind_of, RULES)),
)


def events_page() -> str:
    """Every rule with its geometry and its source."""
    parts = [HEAD]
    for title, module in SECTIONS:
        text = (inspect.getdoc(module) or "").replace("``", "`")
        parts.append(f"## {title}\n\n{text.replace('`analysis.events.body`', '[body](#body)')}\n")
    return "\n".join(parts)
