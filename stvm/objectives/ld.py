"""LD: positive labels, a negative label and low entropy.

Loss: cross-entropy to the labels, mean over the labelled pixels, + 1.0 mean H(p) over all pixels
+ 1.0 mean over all pixels of -ln max(1 - p_(k), 1e-5). p_(k) is the k-th largest probability of a
pixel; k = floor(C / 2) + a number from -3 to 3, drawn for each iteration. Its class is the negative
label: the pixel learns not to be of it.
Labels: before round r the student labels all target images with the share q = 0.10 + 0.05 (r - 1).
A pixel gets its most probable class if any p_c is above t_c, or if it is in the share q of the
most confident pixels of its image. t_c is the floor(q n_c)-th largest confidence of the n_c pixels
predicted as c, or the lowest one if floor(q n_c) is 0.
Source: You et al. 2021; trainer/ldbe_trainer.py of fumyou13/LDBE.
Published: 2 rounds of 1 epoch, SGD at 1e-4, heads x10, batch 3. Its second round divides the rate
by sqrt 2; this is left out here. It counts every fifth pixel for t_c; here all are counted.
Trained: all; running statistics follow, weights of batch norm are fixed (`student_bn=statistics`).
The release also trains the weights of the batch norms in its downsampling layers; here no batch
norm is trained, or all are with `student_bn=train`.
The student labels with the statistics of each single image, and its running statistics follow that
pass, as in the release: an AdaBN inside LD. Dropout is off in that pass.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.method.mean_teacher import Labeller
from stvm.objectives.balanced_labels import share_of_round
from stvm.objectives.confidence_histogram import ConfidenceHistogram, as_float32_bound
from stvm.objectives.entropy import entropy
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import (
    Given,
    Objective,
    TargetBatch,
    TargetImages,
    in_labelled_parts,
)
from stvm.objectives.offline_pass import OfflinePass, restore_statistics, statistics_of

HIGHEST = 1 - 1e-9
"""Largest threshold of a class: a probability of 1 is always above it."""
LEAST_DOUBT = 1e-5
_SPREAD = 3
"""Largest distance of the rank of the negative label from C / 2."""


def class_bounds(histogram: ConfidenceHistogram, share: float) -> NDArray[np.float64]:
    """t_c of each class, (C,); a class without pixels has the largest."""
    totals, ranks = histogram.totals(), histogram.ranks_of_share(share)
    found = histogram.ranked(np.maximum(np.where(ranks > 0, ranks, totals), 1))
    return np.minimum(np.where(totals > 0, found, 1.0), HIGHEST)


def joined_labels(shares: Tensor, bounds: NDArray[np.float64], share: float) -> Tensor:
    """Labels (N, H, W), 255 where neither the class nor the image keeps the pixel.

    Args:
        shares: Softmax probabilities, (N, C, H, W).
        bounds: t, (C,).
        share: Share q of the most confident pixels of each image.
    """
    above = torch.from_numpy(as_float32_bound(bounds, strict=True)).to(shares.device)
    return labels_above(shares, above, share)


def labels_above(shares: Tensor, above: Tensor, share: float) -> Tensor:
    """`joined_labels` with bounds (C,) on the device of the shares."""
    confidence, labels = shares.max(dim=1)
    by_class = (shares > above.view(1, -1, 1, 1)).any(dim=1)
    ordered = confidence.flatten(1).sort(dim=1, descending=True).values
    rank = max(int(share * ordered.shape[1]), 1)
    by_image = confidence > ordered[:, rank - 1].view(-1, 1, 1)
    return labels.masked_fill(~(by_class | by_image), IGNORE_INDEX)


def ranks_of(num_classes: int) -> tuple[int, int]:
    """First and last rank k that may be drawn; the most probable class is never one."""
    middle, spread = num_classes // 2, min(_SPREAD, max(num_classes // 2 - 2, 0))
    return max(middle - spread, 2), max(middle + spread, 2)


def negative_loss(logits: Tensor, rank: int) -> Tensor:
    """Mean of -ln(1 - p) of the probability p at a rank, counted from 1; logits (N, C, H, W)."""
    share = logits.softmax(dim=1).topk(rank, dim=1).values[:, -1]
    return -(1 - share).clamp(min=LEAST_DOUBT).log().mean()


class NegativeLearning(Objective):
    """Positive and negative labels with low entropy.

    Args:
        given: Networks and passes to work with.
        rounds: Number of rounds.
        share: Share of the pixels that is labelled in the first round.
        share_step: Increase of that share from round to round.
        entropy: Weight of the entropy.
        negative: Weight of the negative label.
    """

    labels_offline = True
    one_by_one = True

    def __init__(
        self,
        given: Given,
        *,
        rounds: int,
        share: float,
        share_step: float,
        entropy: float,
        negative: float,
    ) -> None:
        super().__init__(given)
        self.rounds = rounds
        self.shares = (share, share_step)
        self.weights = (entropy, negative)
        self.labeller = Labeller(given.student, "batch", True, given.forward_mode)
        self.kept: Tensor | float = 0.0

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images; the student's running statistics follow the pass."""
        assert labels is not None
        student = self.given.student
        share = share_of_round(self.number_in_stage(number), *self.shares)
        if labels.kept:
            restore_statistics(student, labels.kept)
        if labels.complete:
            return
        offline = OfflinePass(images, labels, lambda: statistics_of(student), size=1)
        bounds = class_bounds(offline.survey(self.given.num_classes, self.shares_of), share)
        offline.write(lambda image: joined_labels(self.shares_of(image), bounds, share))

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Labels of an image (1, 3, H, W)."""
        bounds = images.new_ones(self.given.num_classes)
        return labels_above(self.shares_of(images), bounds, self.shares[0])

    def number_in_stage(self, number: int) -> int:
        """Number of a round by which its share grows."""
        return number

    def shares_of(self, images: Tensor) -> Tensor:
        """Probabilities of the student with the statistics of these images, (N, C, H, W)."""
        return self.labeller.logits(images)[1].softmax(dim=1)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        assert batch.labels is not None
        self.kept = kept_pixels(batch.labels).float().mean()
        rank = self.drawn_rank(iteration)
        for part, labels in in_labelled_parts(self.given, batch.images, batch.labels):
            logits = self.given.predict(part)
            everywhere = self.weights[0] * entropy(logits).mean()
            everywhere = everywhere + self.weights[1] * negative_loss(logits, rank)
            own = kept_cross_entropy(logits, labels, batch.labels)
            yield own + everywhere * (len(part) / len(batch.images))

    def drawn_rank(self, iteration: int) -> int:
        """The rank of the negative label in an iteration, which the seed determines."""
        first, last = ranks_of(self.given.num_classes)
        # Not drawn by torch: the estimate of memory has no numbers in its tensors.
        draws = np.random.default_rng((self.given.seed, 4, iteration))
        return int(draws.integers(first, last + 1))

    def measured(self) -> dict[str, Tensor | float]:
        """Share of the pixels that have a label."""
        return {"kept": self.kept}
