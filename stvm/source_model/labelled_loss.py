"""The loss of training on labels: cross-entropy of labelled pixels, weighted by class."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX
from stvm.data.correspondence import Correspondence
from stvm.data.crops import class_pixels
from stvm.data.images import LabelledImages, OpenedLabelledImages
from stvm.errors import StvmError
from stvm.training.device import must_repeat


def refuse_unlabelled(images: OpenedLabelledImages) -> None:
    """Refuses images without any labelled pixel; mostly only the first label is read.

    Raises:
        StvmError: No image has a labelled pixel.
    """
    ignored = images.labelling.ignore_index
    if not any((images.label(i) != ignored).any() for i in range(len(images))):
        raise StvmError(
            f"none of the {len(images)} training labels has a pixel of a class (all are "
            f"{ignored}): check the label files, and the ids in classes=..."
        )


@dataclass(frozen=True)
class MergedClasses:
    """Classes of the labels, each made of several outputs of the network.

    The probability of a class is the sum of those of its outputs. Outputs of no class are one
    class more, which no label has: training takes probability from them.

    Attributes:
        groups: Outputs of each class that has any.
        table: Place in `groups` of each label, (256,); 255 for a label that no output stands for.
    """

    groups: tuple[tuple[int, ...], ...]
    table: Tensor

    @classmethod
    def of(cls, classes: Correspondence) -> Self | None:
        """The groups of a correspondence; None if network and labels have the same classes."""
        if classes.is_same:
            return None
        members = [classes.members(target) for target in range(len(classes.target))]
        table = torch.full((256,), IGNORE_INDEX)
        with_output = [target for target, own in enumerate(members) if own]
        table[with_output] = torch.arange(len(with_output))
        rest = [classes.unmatched] if classes.unmatched else []
        return cls(tuple([own for own in members if own] + rest), table)

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs (N, C, H, W) -> logits of the groups (N, G, H, W), by log-sum-exp."""
        merged = [
            outputs[:, own[0]] if len(own) == 1 else outputs[:, list(own)].logsumexp(1)
            for own in self.groups
        ]
        return torch.stack(merged, 1)

    def labels(self, labels: Tensor) -> Tensor:
        """Labels of any shape -> places in `groups`; 255 for those without output."""
        return self.table.to(labels.device)[labels.long()]

    def weights(self, weights: Tensor) -> Tensor:
        """Weights of the labels' classes, (K,) -> weights of the groups, (G,)."""
        used = self.table[: len(weights)]
        kept = torch.ones(len(self.groups), dtype=weights.dtype, device=weights.device)
        kept[used[used != IGNORE_INDEX]] = weights[(used != IGNORE_INDEX).to(weights.device)]
        return kept


def label_weight(labels: Tensor, weights: Tensor | None) -> Tensor:
    """Sum of the class weights of the labelled pixels, by which their losses are divided.

    Args:
        labels: Labels of any shape, 255 ignored.
        weights: Weights of the classes, (C,); None for 1 each.
    """
    known = labels != IGNORE_INDEX
    shares = known.float() if weights is None else weights[labels.where(known, 0)] * known
    return shares.sum()


def mean_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None, batch: Tensor | None = None
) -> Tensor:
    """Cross-entropy over the labelled pixels, weighted by class; 0 if there are none.

    Args:
        logits: Logits (N, C, H, W).
        labels: Labels (N, H, W), 255 ignored.
        weights: Weights of the classes, (C,); None for 1 each.
        batch: Labels of the whole batch if `logits` and `labels` are a part of it; the losses of
            all parts then add up to the loss of the batch.
    """
    if batch is not None:
        whole = label_weight(batch, weights)
        share = label_weight(labels, weights) / whole.where(whole > 0, 1.0)
        return mean_cross_entropy(logits, labels, weights) * share
    total = label_weight(labels, weights)
    if not must_repeat(logits.device):
        loss = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX)
        # Without a labelled pixel torch divides 0 by 0; there is no gradient then.
        return loss.where(total > 0, 0.0)
    # The kernel that averages over the pixels adds them in an order that may change.
    losses = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX, reduction="none")
    return losses.sum() / total.where(total > 0, 1.0)


def class_weights(images: LabelledImages, num_classes: int, power: float) -> Tensor:
    """Class weights by median frequency balancing (Eigen and Fergus 2015) to a power, (C,).

    The frequency of a class is its share of the pixels of the images that hold it. A class that no
    image holds has weight 1.

    Args:
        images: Labelled images.
        num_classes: Number of classes, C.
        power: Exponent of the weights; 0 gives 1 for each class.
    """
    counts = torch.from_numpy(class_pixels(images, num_classes)).double()
    room = (counts > 0).sum(0) * images.label(0).size
    frequency = counts.sum(0) / room.clamp(min=1)
    seen = room > 0
    weights = torch.ones(num_classes, dtype=torch.float64)
    weights[seen] = (frequency[seen].median() / frequency[seen]) ** power
    return weights.float()
