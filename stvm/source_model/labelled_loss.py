"""What training with labels has of its own: the loss of labelled pixels, and weights of classes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX
from stvm.data.crops import class_pixels
from stvm.data.images import LabelledImages
from stvm.errors import StvmError
from stvm.training.device import must_repeat


def refuse_unlabelled(images: LabelledImages) -> None:
    """Look for a labelled pixel; nearly always the first image has one, and no other is read.

    Raises:
        StvmError: no image has any.
    """
    if not any((images.label(i) != IGNORE_INDEX).any() for i in range(len(images))):
        raise StvmError(
            f"no pixel of the {len(images)} labels to train on is of a class (all are "
            f"{IGNORE_INDEX}): check the label files, and the ids in classes=..."
        )


def label_weight(labels: Tensor, weights: Tensor | None) -> Tensor:
    """Sum of the class weights of the labelled pixels, by which their losses are divided.

    Args:
        labels: of any shape, 255 ignored.
        weights: of the classes, (C,); None for 1 each.
    """
    known = labels != IGNORE_INDEX
    shares = known.float() if weights is None else weights[labels.where(known, 0)] * known
    return shares.sum()


def mean_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None, batch: Tensor | None = None
) -> Tensor:
    """Cross-entropy over the labelled pixels, weighed by class; 0 where there is none.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W), 255 ignored.
        weights: of the classes, (C,); None for none.
        batch: labels of the whole batch, where the others are of a part of it: the losses of all
            parts add up to that of the batch.
    """
    if batch is not None:
        whole = label_weight(batch, weights)
        share = label_weight(labels, weights) / whole.where(whole > 0, 1.0)
        return mean_cross_entropy(logits, labels, weights) * share
    total = label_weight(labels, weights)
    if not must_repeat(logits.device):
        loss = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX)
        # torch divides 0 by 0; no pixel passes a gradient back.
        return loss.where(total > 0, 0.0)
    # The kernel that averages over the pixels adds them up in any order.
    losses = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX, reduction="none")
    return losses.sum() / total.where(total > 0, 1.0)


def class_weights(images: LabelledImages, num_classes: int, power: float) -> Tensor:
    """Median frequency balancing (Eigen and Fergus 2015) to a power, (C,).

    A class's frequency is its share of the pixels of those images that hold it; a class that
    no image holds weighs 1.
    """
    counts = torch.from_numpy(class_pixels(images, num_classes)).double()
    room = (counts > 0).sum(0) * images.label(0).size
    frequency = counts.sum(0) / room.clamp(min=1)
    seen = room > 0
    weights = torch.ones(num_classes, dtype=torch.float64)
    weights[seen] = (frequency[seen].median() / frequency[seen]) ** power
    return weights.float()
