"""Trains the document edge network on rendered pages."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgecam.core import atomic_file as whole_file
from edgecam.core.opencv import cv2
from edgecam.tools.train.coco import TrainError
from edgecam.tools.train.documents.scene import render
from edgecam.tools.train.hed import INPUT_SIZE, OUTPUT_SIZE, exported, hed

Images = NDArray[np.uint8]

# Shapes of source pictures; all are stretched to the square that the network sees.
_SHAPES = ((341, 256), (256, 341), (256, 256), (455, 256), (341, 256), (256, 384))
_EMPTY_EVERY = 12
BATCH = 16
_HELD_OUT_SEED, _HELD_OUT = 900_000, 96
_PEAK_RATE = 3e-3
_WARM_UP = 0.02
_EDGE_WEIGHT = 6.0
_SIDE_WEIGHT = 0.25


def scene_pair(seed: int) -> tuple[Images, Images]:
    """One training pair: uint8[256, 256, 3] in RGB and uint8[128, 128] edges."""
    width, height = _SHAPES[seed % len(_SHAPES)]
    scene = render(seed, width, height, empty=seed % _EMPTY_EVERY == 5)
    size, small = (INPUT_SIZE, INPUT_SIZE), (OUTPUT_SIZE, OUTPUT_SIZE)
    image = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA)
    edges = cv2.resize(scene.edges, small, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.asarray(edges, np.uint8)


def render_set(
    folder: Path, first_seed: int, count: int, workers: int, say: Callable[[str], None]
) -> tuple[Images, Images]:
    """Render ``count`` pairs once into ``folder``, or read those that lie there already.

    Raises:
        TrainError: they do not fit on the disk, or those there are damaged.
        OutputError: the folder cannot be written.
    """
    images_file = folder / f"images-{first_seed}-{count}.npy"
    edges_file = folder / f"edges-{first_seed}-{count}.npy"
    if not edges_file.exists():
        _refuse_small_disk(folder, count)
        numbers = range(first_seed, first_seed + count)
        with (
            whole_file.replacing(images_file) as images_part,
            whole_file.replacing(edges_file) as edges_part,
        ):
            images = _array(images_part, (count, INPUT_SIZE, INPUT_SIZE, 3))
            edges = _array(edges_part, (count, OUTPUT_SIZE, OUTPUT_SIZE))
            # Ctrl-C reaches all processes of a terminal, and one says enough.
            pool = ProcessPoolExecutor(
                workers, None, signal.signal, (signal.SIGINT, signal.SIG_IGN)
            )
            try:
                for place, pair in enumerate(pool.map(scene_pair, numbers, chunksize=16)):
                    images[place], edges[place] = pair
                    if place % 500 == 499:
                        say(f"rendered {place + 1} of {count}")
            finally:
                pool.shutdown(cancel_futures=True)
    return _read(images_file), _read(edges_file)


def _refuse_small_disk(folder: Path, count: int) -> None:
    """A disk that fills up under a memory map ends the process without a word."""
    needed = count * (INPUT_SIZE**2 * 3 + OUTPUT_SIZE**2)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainError(
            f"{count} rendered pages take {needed / 1e6:.0f} MB, and {folder} has "
            f"{free / 1e6:.0f} MB left: give fewer --scenes, or --keep a folder with more room"
        )


def _array(path: Path, shape: tuple[int, ...]) -> Images:
    """An array in a file, so that it need not fit into memory."""
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def _read(path: Path) -> Images:
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (OSError, EOFError, ValueError) as error:
        raise TrainError(
            f"{path}: expected rendered pages of an earlier run, found: {error}; remove it, or "
            "--keep another folder"
        ) from None


def _varied(rng: np.random.Generator, image: Images, edges: Images) -> tuple[Images, Images]:
    """One of the eight turns of the pair, zoomed a little, in other colours."""
    turns = int(rng.integers(4))
    image, edges = np.rot90(image, turns), np.rot90(edges, turns)
    if rng.random() < 0.5:
        image, edges = image[:, ::-1], edges[:, ::-1]
    image, edges = np.ascontiguousarray(image), np.ascontiguousarray(edges)
    if rng.random() < 0.5:
        scale = rng.uniform(0.75, 1.15)
        shift = rng.uniform(-0.06, 0.06, 2) * INPUT_SIZE + (1 - scale) * INPUT_SIZE / 2
        move = np.array(((scale, 0, shift[0]), (0, scale, shift[1])))
        size = (INPUT_SIZE, INPUT_SIZE)
        image = cv2.warpAffine(image, move, size, borderMode=cv2.BORDER_REPLICATE)
        ratio = OUTPUT_SIZE / INPUT_SIZE
        move[:, 2] = move[:, 2] * ratio - 0.5 * (1 - scale) * (1 - ratio)
        edges = cv2.warpAffine(edges, move, (OUTPUT_SIZE, OUTPUT_SIZE))
    gain = np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
    table = np.arange(256, dtype=np.float32)[:, None] * gain + rng.normal(0, 12)
    if rng.random() < 0.2:
        image = image[:, :, rng.permutation(3)]
    return cv2.LUT(np.ascontiguousarray(image), table.clip(0, 255).astype(np.uint8)[None]), edges


def batches(images: Images, edges: Images, seed: int) -> Iterator[tuple[Images, Images]]:
    """Endless shuffled batches, each pair varied again."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            pairs = [_varied(rng, images[i], edges[i]) for i in order[start : start + BATCH]]
            yield np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def _loss(truth: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross entropy with edges weighted up, and the Dice loss that thin edges want."""
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    entropy = tf.reduce_mean(entropy * (1.0 + _EDGE_WEIGHT * truth))
    found = tf.sigmoid(logits)
    common = tf.reduce_sum(found * truth, (1, 2, 3))
    both = tf.reduce_sum(found * found, (1, 2, 3)) + tf.reduce_sum(truth * truth, (1, 2, 3))
    return entropy + 0.5 * tf.reduce_mean(1.0 - (2.0 * common + 10.0) / (both + 10.0))


def _normal(images: Images) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 127.5 - 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """``done``: 0..1. ``loss``: of the fused output on the held-out pairs."""

    done: float
    steps: int
    loss: float


def train(
    pairs: tuple[Images, Images],
    held_out: tuple[Images, Images],
    minutes: float,
    checkpoint: Path,
    report: Callable[[Progress], None],
) -> keras.Model:
    """Train for ``minutes`` of wall time; the learning rate falls along a cosine to the end.

    The weights are written to ``checkpoint`` about every two minutes, and are read from it first
    where it exists.

    Raises:
        TrainError: it is damaged, or another network's.
        OutputError: it cannot be written.
    """
    network = hed()
    if checkpoint.exists():
        _load(network, checkpoint)
    optimizer = keras.optimizers.AdamW(_PEAK_RATE, weight_decay=1e-4)

    @tf.function  # type: ignore[untyped-decorator]
    def step(images: tf.Tensor, edges: tf.Tensor) -> tf.Tensor:
        truth = tf.cast(edges, tf.float32)[..., None] / 255.0
        with tf.GradientTape() as tape:
            outputs = network(_normal(images), training=True)
            loss = _loss(truth, outputs[0])
            for side in outputs[1:]:
                loss += _SIDE_WEIGHT * _loss(truth, side)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    started = reported = time.monotonic()
    for count, (images, edges) in enumerate(batches(*pairs, seed=1), 1):
        step(tf.constant(images), tf.constant(edges))
        now = time.monotonic()
        done = min(1.0, (now - started) / (60 * minutes))
        rate = _PEAK_RATE * min(1.0, done / _WARM_UP) * 0.5 * (1 + np.cos(np.pi * done))
        optimizer.learning_rate.assign(max(rate, 1e-6))
        if now - reported > 120 or done >= 1.0:
            reported = now
            _save(network, checkpoint)
            report(Progress(done, count, held_out_loss(network, held_out)))
        if done >= 1.0:
            break
    return network


def _load(network: keras.Model, checkpoint: Path) -> None:
    try:
        network.load_weights(checkpoint)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise TrainError(
            f"{checkpoint}: expected the weights of an earlier run, found: "
            f"{' '.join(str(error).split())[:200]}; remove it, or --keep another folder"
        ) from None


def _save(network: keras.Model, checkpoint: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        saved = Path(folder) / checkpoint.name
        network.save_weights(saved)
        whole_file.write(checkpoint, saved.read_bytes())


def held_out_loss(network: keras.Model, pairs: tuple[Images, Images]) -> float:
    """The loss of the fused output on pairs that were not trained on."""
    losses = []
    for start in range(0, len(pairs[0]), BATCH):
        truth = tf.cast(pairs[1][start : start + BATCH], tf.float32)[..., None] / 255.0
        fused = network(_normal(pairs[0][start : start + BATCH]), training=False)[0]
        losses.append(float(_loss(truth, fused)))
    return float(np.mean(losses))


def make(
    folder: Path,
    *,
    scenes: int,
    minutes: float,
    workers: int,
    threads: int,
    say: Callable[[str], None],
) -> keras.Model:
    """Render, train and return the network as it ships; ``folder`` keeps what was done so far."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    held_out = render_set(folder, _HELD_OUT_SEED, _HELD_OUT, workers, say)
    pairs = render_set(folder, 0, scenes, workers, say)

    def report(now: Progress) -> None:
        say(f"{now.done:.1%}: {now.steps} steps of {BATCH}, held-out loss {now.loss:.4f}")

    return exported(train(pairs, held_out, minutes, folder / "hed.weights.h5", report))
