"""HCL: historical contrastive learning.

Loss: mean over all pixels of w_y (cross-entropy to the label y) exp(-d), + 0.5 times a contrastive
loss of features. d = sum_c h_c ln(h_c / e_c), where e are the class probabilities of a moving
average of the student and h those of a historical network, both on the clean crop and without
gradient. w_y is 7 for classes with less than 1/32 of the batch's pixels, else 1. It is multiplied
by a running frequency factor: 0.9 of the old one, plus 0.1 x 7 for a class that the batch lacks,
else 0.1 x 1.
Contrastive loss of an image of M positions: mean over the student's positions i of (1/M) sum over
the average's positions j != i with the label of i of -ln(r_j e_ij / sum_{k != i} r_k e_ik),
e_ij = exp(cosine of the two features / 0.07), r_j = clamp(1.1 - H(e_j) / ln C, 0.9, 1.1). So r
weighs the positions of the moving average, as in the release.
Moving average: before each step its parameters become 0.996 of the old ones plus 0.004 of the
student's, and its buffers become the student's. Every 300 iterations moving average and historical
network become copies of the student: in iterations 301, 601, ..., after they have predicted and
before the student's step. Both predict with the statistics of the batch, and their running
statistics follow them; dropout is off.
Source: Huang et al. 2021; hcl_target/trainer_hcl.py and utils/loss.py of jxhuang0508/HCL.
Published: SGD at 1e-4, warm-up of 5000 iterations, batch 9, crops of 512x256. Left out here: the
warm-up, and the first term for the auxiliary classifier, which no objective trains here.
Trained: all; running statistics follow, weights of batch norm are fixed (`student_bn=statistics`).
Labels: made once by the start, in eval mode, from the sum of the probabilities at scales 1 and
1.25, each with its mirror image; every pixel is kept.
The contrastive loss needs memory for M x M numbers. A feature map with more than `hcl_positions`
positions is averaged over squares of 2x2, 4x4, ... for it, and so is r; the label of a square is
that of its first position. The release has 2048 positions and no such limit.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.method.mean_teacher import Labeller, MeanTeacher, frozen_copy
from stvm.networks import upsample
from stvm.objectives.entropy import entropy
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, Objective, TargetBatch, TargetImages
from stvm.objectives.offline_pass import OfflinePass

LARGER = 1.25
"""Second scale of the labels."""
TEMPERATURE = 0.07
_FREQUENCY = 0.9
"""Weight of the old value of a class's frequency factor."""


def divergence(historical: Tensor, average: Tensor) -> Tensor:
    """d of each pixel, KL(historical || average), from logits (N, C, H, W); (N, H, W)."""
    log_h, log_e = historical.log_softmax(dim=1), average.log_softmax(dim=1)
    return (log_h.exp() * (log_h - log_e)).sum(dim=1)


def normalised_entropies(logits: Tensor) -> Tensor:
    """H(p) / ln C of each pixel of logits (N, C, H, W), in [0, 1]; (N, H, W)."""
    return entropy(logits) / math.log(logits.shape[1])


def reliability(entropies: Tensor) -> Tensor:
    """r = clamp(1.1 - H / ln C, 0.9, 1.1), in the shape of the normalised entropies."""
    return (1.1 - entropies).clamp(0.9, 1.1)


def class_weights(counts: Tensor, rare: float, weight: float) -> Tensor:
    """`weight` for classes with fewer than `rare` pixels, else 1; counts (C,)."""
    return torch.where(counts < rare, weight, 1.0)


def square_side(height: int, width: int, most: int) -> int:
    """Side, a power of two, of the least squares that leave at most `most` of a map's positions.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        most: Largest number of squares.
    """
    side = 1
    while math.ceil(height / side) * math.ceil(width / side) > most:
        side *= 2
    return side


def averaged(maps: Tensor, side: int) -> Tensor:
    """Means of squares of positions, smaller ones at the end: (N, D, h, w) -> (N, D, h', w')."""
    return F.avg_pool2d(maps, side, ceil_mode=True) if side > 1 else maps


def contrast(own: Tensor, average: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Contrastive loss, mean over the images.

    Args:
        own: Features of the student, (N, D, M).
        average: Features of the moving average, (N, D, M).
        labels: Label of each position, (N, M).
        weights: Reliability r of each position of the moving average, (N, M).
    """
    cosine = F.normalize(own, dim=1).transpose(1, 2) @ F.normalize(average, dim=1)
    scores = cosine / TEMPERATURE + weights.log().unsqueeze(1)
    itself = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    log_shares = scores - scores.masked_fill(itself, -torch.inf).logsumexp(2, keepdim=True)
    alike = (labels.unsqueeze(2) == labels.unsqueeze(1)) & ~itself
    return -(log_shares * alike).sum(2).mean() / scores.shape[2]


class HistoricalContrast(Objective):
    """Historical contrastive learning.

    Args:
        given: Networks and passes; the labelling network is the frozen start.
        momentum: Weight of the student in an update of the moving average.
        period: Iterations after which both slow networks become copies of the student.
        contrast: Weight of the contrastive loss.
        rare_weight: Weight of rare and of absent classes.
        rare_share: Share of the batch's pixels below which a class is rare.
        positions: Most positions of an image in the contrastive loss.
    """

    labels_offline = True

    def __init__(
        self,
        given: Given,
        *,
        momentum: float,
        period: int,
        contrast: float,
        rare_weight: float,
        rare_share: float,
        positions: int,
    ) -> None:
        super().__init__(given)
        self.period = period
        self.contrast = contrast
        self.rare_weight = rare_weight
        self.rare_share = rare_share
        self.positions = positions
        mode = given.forward_mode
        self.teacher = MeanTeacher(given.student, momentum=momentum, period=1, bn="copy")
        self.average = mode.prepare(self.teacher.network)
        self.historical = mode.prepare(frozen_copy(given.student))
        self.label_average = Labeller(self.average, "batch", True, mode)
        self.label_historical = Labeller(self.historical, "batch", True, mode)
        self.frequency = torch.ones(given.num_classes, device=given.device)
        self.extract = mode.wrap(given.student.extract)
        self.classify = mode.wrap(given.student.classifier)
        self.agreement: Tensor | float = 0.0

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images."""
        assert labels is not None
        OfflinePass(images, labels).write(self.labels_of)

    @torch.no_grad()
    def labels_of(self, images: Tensor) -> Tensor:
        """Labels of images by the start at two scales, (N, H, W)."""
        mode, start = self.given.forward_mode, self.given.label.network
        seen = (Labeller(start, "eval", False, mode, "mirrored", s) for s in (1.0, LARGER))
        shares = [one.logits(images)[1].softmax(dim=1) for one in seen]
        return (shares[0] + shares[1]).argmax(dim=1)

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Labels of images (N, 3, H, W)."""
        return self.labels_of(images)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of the batch."""
        assert batch.labels is not None
        self.teacher.update(self.given.student, iteration)
        labels = batch.labels.long()
        features, average = self.label_average.logits(batch.images)
        agreed = (-divergence(self.label_historical.logits(batch.images)[1], average)).exp()
        self.agreement = agreed.mean()
        own = self.extract(self.given.augment(batch.images))
        logits = upsample(self.classify(own), (labels.shape[-2], labels.shape[-1]))
        weights = self.moved_weights(labels)[labels]
        first = (F.cross_entropy(logits, labels, reduction="none") * weights * agreed).mean()
        size = (features.shape[-2], features.shape[-1])
        side = square_side(*size, self.positions)
        small = F.interpolate(labels[:, None].float(), size=size)[:, 0, ::side, ::side]
        unsure = upsample(normalised_entropies(average)[:, None], size)
        trusted = averaged(reliability(unsure), side).flatten(1)
        own, features = (averaged(maps, side).flatten(2) for maps in (own, features))
        second = contrast(own, features, small.long().flatten(1), trusted)
        self.reset_slow_networks(iteration)
        yield first + self.contrast * second

    def reset_slow_networks(self, iteration: int) -> None:
        """Now and then both slow networks become the student as it is before its step."""
        if iteration > 1 and (iteration - 1) % self.period == 0:
            for slow in (self.average, self.historical):
                slow.load_state_dict(self.given.student.state_dict())

    def moved_weights(self, labels: Tensor) -> Tensor:
        """Weights of the classes on a batch, (C,); the frequency factor follows it.

        Args:
            labels: Labels of the batch, (N, H, W).
        """
        counts = torch.stack([(labels == c).sum() for c in range(self.given.num_classes)])
        absent = class_weights(counts, 1, self.rare_weight)
        self.frequency = _FREQUENCY * self.frequency + (1 - _FREQUENCY) * absent
        rare = class_weights(counts, self.rare_share * labels.numel(), self.rare_weight)
        return rare * self.frequency

    def measured(self) -> dict[str, Tensor | float]:
        """Mean weight exp(-d) of the pixels."""
        return {"weight": self.agreement}

    def networks(self) -> dict[str, nn.Module]:
        """Moving average and historical network."""
        return {"average": self.average, "historical": self.historical}

    def state_dict(self) -> dict[str, Any]:
        """The frequency factor of each class."""
        return {"frequency": self.frequency}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.frequency = state["frequency"].to(self.frequency)
