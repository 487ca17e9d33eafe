"""Evaluation on labelled target images: one confusion matrix over the whole split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.access import LabelledImages
from stvm.data.classes import IGNORE_ID
from stvm.errors import StvmError
from stvm.networks import SegmentationNetwork, keeping_modes

BATCH = 8
SAMPLED_PIXELS = 512


@dataclass(frozen=True)
class Score:
    """What a confusion matrix says; all are fractions.

    Attributes:
        miou: mean over the classes that occur in labels or predictions.
        iou: of each class; None for a class that neither holds.
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
    """
    known = labels != IGNORE_ID
    pairs = labels[known].long() * num_classes + predictions[known].long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def score(confusion: Tensor) -> Score:
    """mIoU of a confusion matrix (C, C): intersection over union, averaged over classes."""
    counts = confusion.double().cpu()
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    iou = right / union
    total = float(counts.sum())
    return Score(
        float(iou.nanmean()),
        [None if v != v else v for v in iou.tolist()],
        float(right.sum()) / total if total else float("nan"),
    )


def labelled_batches(
    images: LabelledImages, device: torch.device, batch: int = BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole images (N, 3, H, W) in [0, 1] with labels (N, H, W), in order."""
    for start in range(0, len(images), batch):
        rows = range(start, min(start + batch, len(images)))
        pixels = torch.from_numpy(np.stack([images.image(i) for i in rows])).to(device)
        labels = torch.from_numpy(np.stack([images.label(i) for i in rows])).to(device)
        yield pixels.permute(0, 3, 1, 2).float() / 255, labels


def check_labels(images: LabelledImages, split: str) -> None:
    """Read every label once, so that a faulty one is met before training and not after it.

    Raises:
        StvmError: a label that cannot be used, or no labelled pixel in the whole split.
    """
    known = sum(int((images.label(i) != IGNORE_ID).sum()) for i in range(len(images)))
    if not known:
        raise StvmError(
            f"all pixels of the target's split '{split}' are labelled {IGNORE_ID}: "
            "evaluation needs labels; set eval_split to a split that has them"
        )


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork, images: LabelledImages, num_classes: int, device: torch.device
) -> Score:
    """mIoU of a network in eval mode, whose modes and buffers stay as they were."""
    total = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    with keeping_modes(network):
        network.eval()
        for pixels, labels in labelled_batches(images, device):
            total += confusion_matrix(labels, network(pixels).argmax(1), num_classes)
    return score(total)


def auroc(scores: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float | None:
    """Probability that a right pixel scores above a wrong one (ties count half).

    The rank formula of Mann and Whitney; None when all are right or all wrong.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    # Not by scipy.stats, whose import would add a second to the start of every worker.
    _, value_of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[value_of]
    above = float(ranks[right].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


@torch.no_grad()
def judge_labels(
    read: Callable[[Tensor], dict[str, Tensor]],
    images: LabelledImages,
    device: torch.device,
) -> dict[str, float | None]:
    """How well each score tells right pseudo-labels from wrong ones, as AUROC.

    Args:
        read: images -> {"labels": pseudo-labels (N, H, W), a name: scores (N, H, W), ...}.
        images: held out; at most 512 pixels of each are sampled, always the same.
        device: of the networks.
    """
    right: list[Tensor] = []
    scores: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    for pixels, labels in labelled_batches(images, device):
        maps = read(pixels)
        predicted = maps.pop("labels")
        size = labels[0].numel()
        drawn = torch.randperm(size, generator=generator)[:SAMPLED_PIXELS].to(device)
        flat = labels.flatten(1)[:, drawn]
        known = flat != IGNORE_ID
        right.append((predicted.flatten(1)[:, drawn] == flat)[known])
        for name, values in maps.items():
            scores.setdefault(name, []).append(values.flatten(1)[:, drawn][known])
    correct = torch.cat(right).cpu().numpy()
    return {name: auroc(torch.cat(v).cpu().numpy(), correct) for name, v in scores.items()}
