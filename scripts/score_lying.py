"""People in turned pictures who are said to lie: see ``score-lying``."""

from __future__ import annotations

import sys
from pathlib import Path

from edgecam.daemon.build import load_models
from edgecam.settings.load import load
from edgecam.tools.evaluate import coco
from edgecam.tools.evaluate.lying import lying
from edgecam.tools.evaluate.turned_truth import turned


def main(images: str, annotations: str, model: str = "posenet") -> None:
    """Print a line for each turn."""
    settings = load(None, {}, {"model.path": [model]})
    truth = coco.load(Path(annotations), Path(images))
    (loaded,) = load_models(settings)
    for degrees in (0, 90, 270):
        score = lying(turned(truth, degrees), loaded, settings.decode.options())
        print(
            f"turned by {degrees:3}: {score.found} of {score.people} people found, "
            f"{score.lying} of these said to lie ({score.share:.2f})"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
