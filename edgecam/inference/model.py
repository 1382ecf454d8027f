"""One model, whole: file, runtime, delegate, family and geometry; from a frame to what is in it."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import ModelError
from edgecam.core.frame import Frame, Image
from edgecam.core.geometry import FITS, Fit, to_source
from edgecam.core.keypoints import COCO
from edgecam.core.places import expanded
from edgecam.core.printable import file_name
from edgecam.core.protocols import DecodeOptions, Decoder, ManyKeypoints
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference import catalog as bundled
from edgecam.inference import labels, probe, runtime
from edgecam.inference.delegates import DelegateChoice, DelegateReport, choose
from edgecam.inference.interpreter import Interpreter, held_libraries
from edgecam.inference.naming import recognise_named
from edgecam.inference.opening import hidden_floats, open_file, runnable
from edgecam.inference.preprocess import Resizer, filler
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import load, read
from edgecam.settings.schema import InferenceSettings, ModelSettings

MAX_DEFAULT_THREADS = 4
# What most networks for pictures were trained on.
USUAL_SIZE = (224, 224)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ModelImage:
    """A frame at model size: ``image`` uint8[H, W, 3] RGB, and where the frame lies in it."""

    image: Image
    fit: Fit


def default_threads() -> int:
    """All cores this process may use, 4 at most: beyond that small models get no faster."""
    return max(1, min(MAX_DEFAULT_THREADS, len(os.sched_getaffinity(0))))


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``HEIGHTxWIDTH`` as (height, width) in pixels; None stays None."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    return int(height), int(width)


@dataclass(slots=True)
class _Shared:
    """What the cameras that look with one model have in common: interpreters, by input size."""

    interpreter: Interpreter
    by_size: dict[str, Model]
    # Held from the filling of the input until the outputs are read.
    lock: threading.Lock = field(default_factory=threading.Lock)


class Model:
    """A model ready to run; ``stage`` may run beside ``invoke`` of the frame before.

    ``name`` is the file's stem. ``delegate`` says what really runs it. ``fit`` is how a
    frame really fills the input, never auto.

    Raises:
        ModelError: the file, its card, its labels or its size do not fit, or no family knows it.
        DelegateError: the delegate is required and does not run it.
    """

    def __init__(
        self,
        settings: ModelSettings,
        inference: InferenceSettings,
        plugins: tuple[str, ...] = (),
        refines: bool = False,
    ) -> None:
        """``plugins`` are asked for a family where none of edgecam's own fits.

        ``refines``: it looks once more at the people whom others find.
        """
        self._plugins, self.refines = plugins, refines
        path = bundled.resolve(settings.path)
        self.path = path
        self.name = file_name(path.stem)
        data = load(path)
        self.card = bundled.card_of(path)
        if self.card is not None:
            # Before anything makes sense of the file: the hash says most about what happened.
            bundled.verify(self.card, data)
        self.file = read(data, str(path))
        self._runnable = runnable(self.file)
        self.threads = inference.threads or default_threads()
        self._settings, self._inference = settings, inference
        self._metadata = tflite_metadata.metadata(self.file)
        size = self._size(settings.input_size)
        choice = choose(inference.delegate, self.file.needs_edgetpu)
        if inference.probe:
            self._probe(choice, f"{size[0]}x{size[1]}" if size else "-")
        self._new_interpreter = partial(
            open_file,
            self._runnable,
            self.threads,
            size,
            choice,
            inference.delegate_required,
        )
        self.rate_hz, self.publishes = settings.rate_hz, settings.publish
        self._shared = _Shared(self._new_interpreter(), {})
        self.decoder = self._recognise(self.interpreter.inputs, self.interpreter.outputs)
        self._hidden = hidden_floats(self._runnable, self.interpreter.delegated)
        _, height, width, channels = self.interpreter.inputs[0].shape
        if channels not in (1, 3):
            raise ModelError(
                f"{path}: expected a picture of 3 colour channels or 1 grey one, found {channels}"
            )
        self.fit = self._fit()
        self.resizer = Resizer(height, width, self.fit)
        self.fill = filler(
            self.interpreter.inputs[0],
            tflite_metadata.normalization(self._metadata, str(path)),
            self.decoder.normalization,
        )

    def _probe(self, choice: DelegateChoice, size: str) -> None:
        """Try it in a child process first.

        A device that this process holds may be closed to the child: there the CPU tries the file,
        but for one that runs on that device alone.

        Raises:
            ModelError: it was killed, hung, or was refused.
        """
        is_held = choice.library in held_libraries()
        if is_held and self.file.needs_edgetpu:
            return
        delegate = "cpu" if is_held else self._inference.delegate
        arguments = (str(self.threads), size, delegate)
        probe.check(self.path, self.file.data, runtime.find(), arguments)

    def _size(self, asked: str | None) -> tuple[int, int] | None:
        """The (height, width) to run at, None for the input's own.

        Raises:
            ModelError: the model takes no such size.
        """
        size = parse_size(asked)
        if self._runnable.has_open_size:
            if size is None:
                size = USUAL_SIZE
                log.warning(
                    "%s: its input has no size of its own: pictures of %dx%d are taken; "
                    "say another with --input-size",
                    *(self.name, *size),
                )
        elif size is not None:
            self._check_resizable(size)
        return size

    def _fit(self) -> str:
        """As the settings say, else the card, else what suits the family.

        Raises:
            ModelError: the card names none that is known.
        """
        if self._settings.fit != "auto":
            return self._settings.fit
        said = self.card.fields.get("fit") if self.card is not None else None
        if said is not None and said not in FITS:
            raise ModelError(
                f"card of {self.path}: fit: expected {', '.join(FITS)}, found {said!r:.80}"
            )
        return said or self.decoder.fit

    def reload(self) -> None:
        """Begin again with an interpreter that has seen nothing.

        Raises:
            ModelError, DelegateError: it does not load any more.
        """
        with self._shared.lock:
            self._shared.interpreter = self._new_interpreter()

    @property
    def interpreter(self) -> Interpreter:
        """The interpreter that runs it."""
        return self._shared.interpreter

    def shares_interpreter(self, other: Model) -> bool:
        """Whether the other one runs in the same interpreter, as often."""
        return self._shared is other._shared and self.rate_hz == other.rate_hz

    def resized(self, size: str) -> Model:
        """The same model with an input of this ``HEIGHTxWIDTH``, for parts of a frame.

        Raises:
            ModelError: it takes no such size.
        """
        found = self._shared.by_size
        if size not in found:
            settings = msgspec.structs.replace(self._settings, input_size=size, fit="stretch")
            found[size] = Model(settings, self._inference, self._plugins)
        return found[size]

    def at_most(self, rate_hz: float | None) -> Model:
        """The same model in the same interpreter, for a camera that is looked at so often."""
        found = copy.copy(self)
        rates = [rate for rate in (self.rate_hz, rate_hz) if rate is not None]
        found.rate_hz = min(rates, default=None)
        return found

    @property
    def delegate(self) -> DelegateReport:
        """Delegate in use, and why not another."""
        return self.interpreter.delegate

    @property
    def is_badly_placed(self) -> bool:
        """Whether a float model would be faster with this board's runtime."""
        on_cpu = self.delegate.active in ("xnnpack", "cpu")
        return on_cpu and runtime.find().is_slow_in_integers and self.file.computes_in_integers

    @property
    def finds_poses(self) -> bool:
        """Whether the decoder finds poses."""
        return self.decoder.finds == "poses"

    @property
    def finds_people(self) -> bool:
        """Whether its poses are people's: postures and events follow them."""
        skeleton = self.decoder.skeleton
        return skeleton is not None and skeleton.body is not None

    @property
    def for_crops(self) -> bool:
        """Whether it is made for the square around one person, not for whole frames."""
        # A plugin's decoder may be older than this.
        return bool(getattr(self.decoder, "for_crops", False))

    @property
    def turns_crops(self) -> bool:
        """Whether that square is turned along the body of who stands too."""
        return bool(getattr(self.decoder, "turns_crops", False))

    @property
    def counted(self) -> tuple[str, ...]:
        """The labels that it may find any number of, as far as they are known beforehand."""
        return tuple(label for label, _ in self.counted_classes)

    @property
    def counted_classes(self) -> tuple[tuple[str, int], ...]:
        """Those labels with the numbers of their classes."""
        found = self.decoder.labels
        if self.decoder.skeleton is not None:
            return ((self.decoder.skeleton.label, 0),)
        if found is None or self.decoder.finds != "boxes":
            return ()
        return tuple(
            (label, number)
            for number, label in enumerate(found)
            if label.lower() not in labels.BACKGROUND
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of a classifier: what a picture as a whole may be."""
        if self.decoder.finds != "classes" or self.decoder.labels is None:
            return ()
        return tuple(dict.fromkeys(self.decoder.labels))

    def _check_resizable(self, size: tuple[int, int]) -> None:
        decoder = self._recognise(self._runnable.inputs, self._runnable.outputs)
        step = decoder.size_step
        if step is None:
            raise ModelError(
                f"{self.path}: a {decoder.family} model has one input size; drop --input-size "
                "(only a PoseNet is fully convolutional)"
            )
        if any(side % step != 1 for side in size):
            nearest = "x".join(str(max(1, round((side - 1) / step)) * step + 1) for side in size)
            raise ModelError(
                f"--input-size {size[0]}x{size[1]}: expected sides of {step}n+1 (HEIGHTxWIDTH), "
                f"as PoseNet was trained; the nearest is {nearest}"
            )

    def _recognise(
        self, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]
    ) -> Decoder:
        given = self._settings.labels
        decoder = recognise_named(
            self._runnable,
            (inputs, outputs),
            self.path,
            Path(expanded(given, "model.labels")) if given else None,
            self.card.fields.get("labels") if self.card is not None else None,
            self._settings.decoder,
            self._plugins,
        )
        if self._settings.keypoints == "body":
            return decoder
        if not isinstance(decoder, ManyKeypoints):
            raise ModelError(
                f"{self.path}: keypoints = all: expected MediaPipe's pose landmarks, found a "
                f"{decoder.family} model, which finds no more than it publishes; drop it"
            )
        return decoder.with_all_keypoints()

    def buffer(self) -> Image:
        """Return a buffer for ``preprocess``: uint8[H, W, 3]."""
        return self.resizer.buffer()

    def preprocess(self, frame: Frame, buffer: Image) -> ModelImage:
        """Fit ``frame`` into ``buffer`` at model size."""
        return ModelImage(buffer, self.resizer.resize_into(frame, buffer))

    def invoke(self, staged: ModelImage) -> list[Tensor]:
        """Run the model; returns the decoder's tensors, batch dimension kept, not dequantised.

        From any thread: one picture after the other.

        Raises:
            ModelError: it fails, or returns NaN or infinity.
        """
        with self._shared.lock:
            self.interpreter.fill(staged.image, self.fill)
            self.interpreter.invoke()
            self.interpreter.check_within(self._hidden)
            return self.interpreter.read(self.decoder.outputs)

    def dequantised(self, tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        """What ``invoke`` returned, as the decoder takes it."""
        return self.interpreter.dequantised(self.decoder.outputs, tensors)

    def find(
        self, tensors: Sequence[Tensor], options: DecodeOptions, is_mirrored: bool = False
    ) -> Decoded:
        """What is in the tensors that ``invoke`` returned, in pixels of the model input.

        ``is_mirrored``: it saw a mirrored picture; left and right stay the people's own.
        """
        found = self.decoder(self.dequantised(tensors), options)
        skeleton = self.decoder.skeleton
        if not found.poses or skeleton is None:
            return found
        poses = found.poses
        if skeleton is not COCO:
            poses = tuple(replace(pose, skeleton=skeleton.name) for pose in poses)
        if is_mirrored:
            poses = tuple(pose.with_sides_changed() for pose in poses)
        return found if poses is found.poses else replace(found, poses=poses)

    def decode(
        self,
        tensors: Sequence[Tensor],
        staged: ModelImage,
        frame: Frame,
        options: DecodeOptions,
    ) -> Decoded:
        """What is in the frame, in source-frame pixels."""
        found = self.find(tensors, options, frame.is_mirrored)
        found = to_source(found, staged.fit, frame.width_px, frame.height_px)
        if not found.documents:
            return found
        from edgecam.inference.decoders.page_edges import sharpened

        # The network's map is coarser than the picture, which may show the edge more exactly.
        sharp = partial(sharpened, frame.image)
        return replace(found, documents=tuple(page.moved(sharp) for page in found.documents))
