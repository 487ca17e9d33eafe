"""Mean intersection over union of a confusion matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.errors import StvmError


@dataclass(frozen=True)
class Score:
    """Figures computed from a confusion matrix; all are fractions.

    Attributes:
        miou: Mean IoU over the classes that occur in the labels.
        iou: IoU of each class; None for a class that no label holds.
        pixel_accuracy: Share of labelled pixels that are right.
    """

    miou: float
    iou: list[float | None]
    pixel_accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """The figures as entries of a record."""
        return {"miou": self.miou, "iou": self.iou, "pixel_accuracy": self.pixel_accuracy}


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (C, C), row label and column prediction; pixels labelled 255 are left out.

    Args:
        labels: Labels of any shape, ids below `num_classes` or 255.
        predictions: Predicted classes of the same shape.
        num_classes: Number of classes, C.

    Raises:
        ValueError: A label that is neither, or a prediction that is not below `num_classes`.
        StvmError: Labels and predictions of different shapes.
    """
    if labels.shape != predictions.shape:
        raise StvmError(
            f"confusion_matrix: labels {tuple(labels.shape)} and predictions "
            f"{tuple(predictions.shape)}: give one predicted class for each label"
        )
    if not _within(labels, IGNORE_INDEX):
        raise ValueError(f"a label is neither below {num_classes} nor {IGNORE_INDEX}")
    if not _within(predictions, num_classes - 1):
        raise ValueError(f"a prediction is not a class below {num_classes}")
    # A row for every possible byte: selecting the labelled pixels first would take longer.
    pairs = (labels.long() * num_classes + predictions).flatten()
    counts = torch.bincount(pairs, minlength=(IGNORE_INDEX + 1) * num_classes).view(-1, num_classes)
    if counts[num_classes:IGNORE_INDEX].any():
        raise ValueError(f"a label is neither below {num_classes} nor {IGNORE_INDEX}")
    return counts[:num_classes]


def _within(classes: Tensor, largest: int) -> bool:
    """Whether all classes are from 0 to `largest`."""
    if not classes.numel():
        return True
    low, high = torch.stack(torch.aminmax(classes)).tolist()
    return bool(low >= 0 and high <= largest)


def score(confusion: Tensor) -> Score:
    """mIoU of a confusion matrix (C, C): intersection over union, averaged over classes.

    Further columns, (C, C + 1), count pixels predicted as something that is no class; they are
    errors of their true classes.

    A class that no label holds has no IoU and is left out of the mean. Pixels predicted as such a
    class count as errors of their true classes. Cityscapes' own evaluation (cityscapesscripts)
    counts such a class as 0 if a single pixel is predicted as it. If every class is labelled, as in
    the data sets of the paper, both give the same mean.
    """
    counts = confusion.double().cpu()
    right, labelled = counts.diagonal(), counts.sum(1)
    predicted = counts.sum(0)[: len(right)]
    iou = (right / (labelled + predicted - right)).where(labelled > 0, torch.nan)
    total = float(counts.sum())
    return Score(
        float(iou.nanmean()),
        [None if v != v else v for v in iou.tolist()],
        float(right.sum()) / total if total else float("nan"),
    )


def miou(confusion: Tensor) -> float:
    """Mean intersection over union of a confusion matrix (C, C), in [0, 1].

    The mean is taken over the classes that occur in the labels; nan if there is none. See
    `confusion_matrix`.
    """
    return score(confusion).miou
