"""Mean intersection over union of a confusion matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX


@dataclass(frozen=True)
class Score:
    """What a confusion matrix says; all are fractions.

    Attributes:
        miou: mean over the classes that occur in the labels.
        iou: of each class; None for a class that no label holds.
        pixel_accuracy: share of labelled pixels that are right.
    """

    miou: float
    iou: list[float | None]
    pixel_accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return {"miou": self.miou, "iou": self.iou, "pixel_accuracy": self.pixel_accuracy}


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (C, C), row label and column prediction; pixels labelled 255 are left out.

    Args:
        labels: any shape, ids below `num_classes` or 255.
        predictions: of the same shape.
        num_classes: C.

    Raises:
        ValueError: another label.
    """
    # With a row for every byte nothing has to be picked out, which takes longer than counting.
    pairs = (labels.long() * num_classes + predictions).flatten()
    counts = torch.bincount(pairs, minlength=(IGNORE_INDEX + 1) * num_classes).view(-1, num_classes)
    if counts[num_classes:IGNORE_INDEX].any():
        raise ValueError(f"a label is neither below {num_classes} nor {IGNORE_INDEX}")
    return counts[:num_classes]


def score(confusion: Tensor) -> Score:
    """mIoU of a confusion matrix (C, C): intersection over union, averaged over classes.

    A class that no label holds has no IoU and is left out of the mean, also where it is predicted;
    the pixels so predicted are errors of their own classes. Cityscapes' own evaluation
    (cityscapesscripts) counts such a class as 0 once a single pixel is predicted as it; where every
    class is labelled, as in the sets of the paper, the two are equal.
    """
    counts = confusion.double().cpu()
    right, labelled = counts.diagonal(), counts.sum(1)
    iou = (right / (labelled + counts.sum(0) - right)).where(labelled > 0, torch.nan)
    total = float(counts.sum())
    return Score(
        float(iou.nanmean()),
        [None if v != v else v for v in iou.tolist()],
        float(right.sum()) / total if total else float("nan"),
    )
