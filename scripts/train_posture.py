"""Train the network that tells postures: see ``train-posture``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from synthetic_camera import SIZE_PX, Cameras, Seen, looking_at, seen
from synthetic_people import AT, POSTURES, Array, Chance, joints, standing

from edgecam.analysis import shape

PEOPLE, CHECKED = 60_000, 6_000
HIDDEN = (40, 24)
EPOCHS, BATCH, RATE, DECAY = 14, 128, 2e-3, 1e-4
# How often each posture comes, and what is known of how many.
SHARES = (0.26, 0.22, 0.16, 0.14, 0.22)
STOOD_KNOWN, PITCH_KNOWN, HEIGHT_KNOWN, LEGS_HIDDEN = 0.55, 0.5, 0.6, 0.2


@dataclass(frozen=True, slots=True)
class Examples:
    """What the network sees of N people, float64[N, F], and the place of their posture."""

    inputs: Array
    postures: NDArray[np.intp]
    cameras: Cameras
    known: NDArray[np.intp]


def people(count: int, chance: Chance) -> tuple[Array, NDArray[np.intp], Array]:
    """Rows of people in all postures, which posture it is, and how they stood before."""
    names = list(POSTURES)
    kinds = chance.choice(len(names), size=count, p=SHARES)
    rows = np.empty((count, len(AT)))
    before = np.empty_like(rows)
    for place, kind in enumerate(kinds):
        ways = POSTURES[names[kind]]
        rows[place] = ways[chance.integers(len(ways))](chance)
        before[place] = standing(chance)
    rows[:, AT["yaw"]], before[:, AT["yaw"]] = chance.uniform(-np.pi, np.pi, (2, count))
    ground = [AT["x"], AT["y"]]
    rows[:, ground] = chance.uniform(-0.8, 0.8, (count, 2))
    before[:, ground] = rows[:, ground] + chance.normal(0.0, 0.45, (count, 2))
    # A third of those who lie do so on a bed or a sofa.
    beds = chance.choice([0.0, 0.0, 0.45], size=count)
    rows[:, AT["base"]] = np.where(kinds == names.index("lying"), beds, 0.0)
    return rows, kinds, before


def known(now: Seen, before: Seen, cameras: Cameras, chance: Chance) -> shape.Known:
    """What a run would know besides, of some."""
    count = len(now.xy)
    stood = shape.bodies(before.xy, before.scores)
    is_known = (chance.random(count) < STOOD_KNOWN) & stood.is_whole
    has_pitch = chance.random(count) < PITCH_KNOWN
    has_height = has_pitch & (chance.random(count) < HEIGHT_KNOWN)
    body = shape.bodies(now.xy, now.scores)
    middle = (body.shoulders[:, 1] + body.hips[:, 1]) / 2.0
    return shape.Known(
        np.where(is_known, stood.shoulders[:, 1], np.nan),
        np.where(is_known, stood.size_px, np.nan),
        np.where(has_pitch, cameras.pitch_degrees + chance.normal(0.0, 3.0, count), np.nan),
        np.where(has_height, cameras.height_m + chance.normal(0.0, 0.1, count), np.nan),
        middle / SIZE_PX[1] - 0.5,
    )


def examples(count: int, seed: int) -> Examples:
    """People in a room seen by cameras at 0.6 to 3 m from all directions."""
    chance = np.random.default_rng(seed)
    rows, kinds, before = people(count, chance)
    is_child = chance.random(count) < 0.12
    stature_m = np.where(
        is_child, chance.uniform(0.9, 1.4, count), chance.uniform(1.5, 1.92, count)
    )
    cameras = looking_at(
        chance.uniform(0.0, 360.0, count),
        chance.uniform(1.6, 6.0, count),
        chance.uniform(0.6, 3.0, count),
        chance.uniform(0.3, 1.2, count),
        chance.uniform(50.0, 100.0, count),
    )
    hidden = chance.random(count) < LEGS_HIDDEN
    each = np.arange(count)
    now = seen(joints(rows, stature_m), cameras, hidden, each, chance)
    stood = seen(joints(before, stature_m), cameras, hidden, each, chance)
    body = shape.bodies(now.xy, now.scores)
    about = known(now, stood, cameras, chance)
    inputs = shape.features(body, about)
    known_things = np.isfinite(np.stack((about.stood_px, about.pitch_degrees), axis=1)).sum(axis=1)
    whole = body.is_whole
    return Examples(inputs[whole], kinds[whole], cameras, known_things[whole])


def scores(inputs: Array, weights: Sequence[Array], offsets: Sequence[Array]) -> list[Array]:
    """What each layer makes of it, the inputs first."""
    layers = [inputs]
    for place, (weight, offset) in enumerate(zip(weights, offsets, strict=True)):
        value = layers[-1] @ weight + offset
        layers.append(value if place == len(weights) - 1 else np.maximum(value, 0.0))
    return layers


def shares(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit(taught: Examples, seed: int) -> tuple[list[Array], list[Array]]:
    """Weights and offsets that tell the postures, by Adam (Kingma, Ba, 2015)."""
    chance = np.random.default_rng(seed)
    sizes = (taught.inputs.shape[1], *HIDDEN, len(POSTURES))
    weights = [chance.normal(0.0, np.sqrt(2.0 / a), (a, b)) for a, b in itertools.pairwise(sizes)]
    offsets = [np.zeros(size) for size in sizes[1:]]
    values = [*weights, *offsets]
    first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    step = 0
    for epoch in range(EPOCHS):
        rate = RATE * 0.5 * (1.0 + np.cos(np.pi * epoch / EPOCHS))
        order = chance.permutation(len(taught.inputs))
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            layers = scores(taught.inputs[chosen], weights, offsets)
            slope = shares(layers[-1])
            slope[np.arange(len(chosen)), taught.postures[chosen]] -= 1.0
            slope /= len(chosen)
            slopes: list[Array] = []
            for place in reversed(range(len(weights))):
                slopes[:0] = [layers[place].T @ slope + DECAY * weights[place], slope.sum(axis=0)]
                slope = (slope @ weights[place].T) * (layers[place] > 0.0)
            step += 1
            for place, value in enumerate(values):
                found = (
                    slopes[2 * place]
                    if place < len(weights)
                    else slopes[2 * (place - len(weights)) + 1]
                )
                first[place] += 0.1 * (found - first[place])
                second[place] += 0.001 * (found * found - second[place])
                size = np.sqrt(second[place] / (1.0 - 0.999**step)) + 1e-8
                value -= rate * first[place] / (1.0 - 0.9**step) / size
    return weights, offsets


def table(truth: NDArray[np.intp], found: NDArray[np.intp]) -> str:
    """How often each posture was called which."""
    counts = np.zeros((len(POSTURES), len(POSTURES)), int)
    np.add.at(counts, (truth, found), 1)
    rows = [f"{'':10}" + "".join(f"{name:>11}" for name in POSTURES)]
    for name, row in zip(POSTURES, counts, strict=True):
        rows.append(f"{name:10}" + "".join(f"{share:11.1%}" for share in row / max(1, row.sum())))
    return "\n".join(rows)


def main() -> None:
    taught = examples(PEOPLE, seed=1)
    weights, offsets = fit(taught, seed=0)
    arrays = {f"weights_{n}": np.float32(w) for n, w in enumerate(weights)}
    arrays |= {f"offsets_{n}": np.float32(o) for n, o in enumerate(offsets)}
    np.savez(shape.WEIGHTS, **arrays)
    checked = examples(CHECKED, seed=2)
    found = shape.likely(checked.inputs).argmax(axis=1)
    for known_things in range(3):
        chosen = checked.known == known_things
        print(f"{chosen.sum()} people; of where they stood and the pitch {known_things} known")
        print(table(checked.postures[chosen], found[chosen]))


if __name__ == "__main__":
    sys.exit(main())
