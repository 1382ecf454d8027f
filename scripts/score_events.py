"""Events on clips of people: see ``score-events``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import score_synthetic

from edgecam.core.errors import EdgecamError, SourceError
from edgecam.daemon.build import load_models
from edgecam.settings.accuracy import chosen
from edgecam.settings.load import load
from edgecam.tools.evaluate.clips import Clip, Cost, Playing, events, look_at
from edgecam.tools.evaluate.event_scores import lines, read_truth, score
from edgecam.tools.evaluate.kept_outputs import KeptOutputs

RATES_HZ = (30.0, 10.0, 5.0, 2.0)
ENDINGS = frozenset({".avi", ".mkv", ".mov", ".mp4", ".webm"})


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="score-events", description=__doc__)
    parser.add_argument("clips", type=Path, nargs="?", help="a clip, or a folder of them")
    parser.add_argument("truth", type=Path, nargs="?", help="TOML; without it nothing is true")
    parser.add_argument("--model", action="append", help="several are run together")
    parser.add_argument("--accuracy", default="fast", help="fast (posenet), balanced or best")
    parser.add_argument("--config", type=Path, help="a settings file")
    parser.add_argument("--turned", type=float, help="turned_look_s: 0 is no turned looks")
    parser.add_argument("--rate", type=float, action="append", help="looks a second")
    parser.add_argument("--hold", type=float, default=8.0, help="seconds of the last picture")
    parser.add_argument("--hold-first", type=float, default=0.0, help="seconds of the first one")
    parser.add_argument("--slower", type=float, default=1.0, help="4: a quarter of the speed")
    parser.add_argument("--backwards", action="store_true")
    parser.add_argument("--mirrored", action="store_true")
    parser.add_argument("--kept", type=Path, help="a folder for what the networks returned")
    parser.add_argument("--list", action="store_true", help="every event")
    parser.add_argument("--lost", type=float, default=0.0, help="share of looks that find nothing")
    parser.add_argument("--loops", type=int, default=1, help="how often a clip is shown")
    parser.add_argument("--seed", type=int, default=0, help="which looks are lost")
    parser.add_argument("--synthetic", type=int, help="so many people made of numbers, no clips")
    options = parser.parse_args(argv)
    if options.clips is None and options.synthetic is None:
        parser.error("expected a clip, a folder of them or --synthetic, found none")
    return options


def looked_at(options: argparse.Namespace) -> None:
    """Look at every clip once and print a table for each rate."""
    truths = {} if options.truth is None else read_truth(options.truth)
    flags = {"model.path": options.model} if options.model else {"accuracy": options.accuracy}
    if options.turned is not None:
        flags["turned_look_s"] = options.turned
    settings = chosen(load(options.config, {}, flags))
    invoke = KeptOutputs(options.kept)
    models = load_models(settings)
    folder = options.clips
    files = sorted(p for p in folder.iterdir() if p.suffix in ENDINGS) if folder.is_dir() else []
    rates = options.rate or RATES_HZ
    seen = (settings, models, invoke, options.mirrored, max(rates) * max(1.0, options.slower))
    clips: list[Clip] = [look_at(path, *seen) for path in files or [folder]]
    for rate_hz in rates:
        playing = Playing(
            rate_hz,
            options.hold_first,
            options.hold,
            options.slower,
            options.backwards,
            options.lost,
            options.seed,
            options.loops,
        )
        cost = Cost()
        reported = [
            (clip.name, events(clip, settings, models, playing, cost, invoke)) for clip in clips
        ]
        for name, found in reported if options.list else ():
            for event in found:
                about = f" {dict(event.attributes)}" if event.attributes else ""
                print(f"{name}: {event.time_s:6.2f} {event.event_type} {event.track}{about}")
        print(f"{rate_hz:g} looks a second, {len(clips)} clips")
        print("\n".join(lines(score(reported, truths, playing), len(clips))))
        print(cost)
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[1:] if argv is None else argv)
    if options.synthetic is not None:
        for rate_hz in options.rate or (10.0, 5.0):
            print(f"{rate_hz:g} looks a second")
            print(
                "\n".join(score_synthetic.lines(score_synthetic.score(options.synthetic, rate_hz)))
            )
        return 0
    try:
        looked_at(options)
    except (EdgecamError, SourceError) as error:
        print(f"score-events: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
