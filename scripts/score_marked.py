"""Ways to follow people beside marks made by eye: see ``score-marked``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.result import Pose
from edgecam.daemon.build import load_models
from edgecam.settings.load import load
from edgecam.tools.evaluate.marked import read, shipped
from edgecam.tools.evaluate.oks import PoseKeeper, likeness
from edgecam.tools.evaluate.throughput import run_recording

ASL = Path(__file__).resolve().parents[1] / "tests" / "data" / "asl_people.json"
WAYS: Mapping[str, Mapping[str, object]] = {
    "whole frames": {},
    "[crop]": {"crop.enabled": True},
    "[crop], thunder": {"crop.enabled": True, "refine": "thunder"},
    "whole frames, thunder on all": {"refine": "thunder"},
}


@dataclass(frozen=True)
class Score:
    """Of one clip: mean OKS over its ``people``, and processor milliseconds a frame."""

    mean_oks: float
    people: int
    cpu_ms: float


def clips(folder: Path | None) -> Iterator[tuple[Path, Mapping[int, Sequence[Pose]]]]:
    """Each clip, and who is marked in which of its frames."""
    marked = list(read(shipped()))
    where = {shipped().parents[1] / "clips"}
    if folder is not None:
        names = {each["clip"] for each in json.loads(ASL.read_text())["pictures"]}
        if all((folder / name).is_file() for name in names):
            marked += read(ASL, folder)
            where.add(folder)
    by_clip: dict[str, dict[int, Sequence[Pose]]] = {}
    for picture in marked:
        name, _, number = str(picture.frame.file).partition(" ")
        if number:
            by_clip.setdefault(name, {})[int(number)] = picture.people
    for name, people in by_clip.items():
        yield next(each / name for each in where if (each / name).is_file()), people


def score(clip: Path, people: Mapping[int, Sequence[Pose]], way: Mapping[str, object]) -> Score:
    """Run a clip up to the last frame that is marked."""
    last = max(people) + 1
    asked = {"source.url": str(clip), "max_frames": last, "turned_look_s": 0.0}
    settings = load(None, {}, {**asked, "model.path": ["posenet"], **way})
    keeper, models = PoseKeeper(), load_models(settings)
    began_s = time.process_time()
    run_recording(settings, models, keeper)
    cpu_ms = (time.process_time() - began_s) * 1e3 / last
    found = likeness(people, keeper.poses)
    return Score(found.mean_oks, found.people, cpu_ms)


def main(folder: str | None = None) -> None:
    """Print a line for each clip and way, and one for all clips."""
    total: dict[str, list[Score]] = {}
    for clip, people in clips(None if folder is None else Path(folder)):
        for name, way in WAYS.items():
            found = score(clip, people, way)
            total.setdefault(name, []).append(found)
            print(f"{clip.name}, {name}: OKS {found.mean_oks:.3f}, {found.cpu_ms:.1f} ms a frame")
    for name, scores in total.items():
        number = sum(each.people for each in scores)
        mean = sum(each.mean_oks * each.people for each in scores) / number
        print(f"{name}: OKS {mean:.3f} over {number} people")


if __name__ == "__main__":
    main(*sys.argv[1:])
