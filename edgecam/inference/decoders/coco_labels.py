"""The names of COCO's 90 detection ids, for detectors that were published without labels.

Source: ``categories`` of COCO's ``instances_train2017.json``; ids 1 to 90, of which 10 are unused.
"""

from __future__ import annotations

from edgecam.core.errors import ModelError

UNUSED = "???"
CLASSES = 90

# Id minus one -> name, so that the first is id 1.
DETECTION_LABELS: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", UNUSED, "stop sign", "parking meter", "bench", "bird"),
    *("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", UNUSED),
    *("backpack", "umbrella", UNUSED, UNUSED, "handbag", "tie", "suitcase", "frisbee", "skis"),
    *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
    *("surfboard", "tennis racket", "bottle", UNUSED, "wine glass", "cup", "fork", "knife"),
    *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot"),
    *("hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", UNUSED),
    *("dining table", UNUSED, UNUSED, "toilet", UNUSED, "tv", "laptop", "mouse", "remote"),
    *("keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", UNUSED),
    *("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
# The 80 that are used, in order: what networks that were trained by them alone number from 0.
NAMES = tuple(name for name in DETECTION_LABELS if name != UNUSED)


def names_of(classes: int | None) -> tuple[str, ...] | None:
    """COCO's names for a detector of exactly 90 classes, None for any other."""
    return DETECTION_LABELS if classes == CLASSES else None


def names_for(labels: tuple[str, ...] | None, classes: int, what: str) -> tuple[str, ...] | None:
    """The labels of a model of so many classes; without any COCO's, where there are 80 of them.

    Raises:
        ModelError: there are labels, of another number of classes.
    """
    if labels is None:
        return NAMES if classes == len(NAMES) else None
    if len(labels) != classes:
        raise ModelError(
            f"the label list has {len(labels)} entries but the {what} has {classes} classes; give "
            "the names that it was trained with"
        )
    return labels
