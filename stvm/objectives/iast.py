"""IAST: self-training with thresholds that follow the images, and two regularisers.

Loss: cross-entropy to the labels, mean over the labelled pixels, + 3.0 E + 0.1 K.
E = sum of H(p) over the pixels without label / (their number x C).
K = sum of -(1/C) sum_c ln p_c over the labelled pixels / (their number x C).
Labels: before each round the student labels all target images, in order. Thresholds th_c start
at 0.9. For each image A_c holds the confidences of the pixels predicted as c, and th_c itself;
new_c is the percentile 100 (1 - a th_c**gamma) of A_c; th_c <- 0.9 th_c + 0.1 new_c, or 0.999 where
that reaches 1. Then a pixel is kept if its confidence is at least the new th_c. In rounds 1, 2, 3
a = 0.20, 0.25, 0.30; gamma = 8.
Source: Mei et al. 2020; sl_trainer.py and uda_segmentor.py of Raykoooo/IAST, whose divisors have
the factor C.
Published: Adam; the feature extractor has a tenth of the head's rate: head_lr_factor=10 here.
The release moves the thresholds once for each batch of images; here that is one image.
Trained: all but batch norm, which stays as it is at the start (`student_bn=frozen`).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.objectives.balanced_labels import share_of_round
from stvm.objectives.cbst import ClassBalanced
from stvm.objectives.crst import uniform_cross_entropy
from stvm.objectives.entropy import entropy
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels, mean_over
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, TargetImages
from stvm.objectives.offline_pass import OfflinePass

START = 0.9
"""Threshold of each class at the start of a round."""
LARGEST = 0.999
"""Threshold in place of one that reached 1."""


def moved_threshold(
    confidence: NDArray[Any], threshold: float, share: float, gamma: float, momentum: float
) -> float:
    """The threshold of a class after an image.

    Args:
        confidence: Confidences of the pixels that are predicted as the class.
        threshold: Threshold before.
        share: Share a of the pixels that is kept at threshold 1.
        gamma: Power by which a low threshold lowers that share.
        momentum: Weight of the threshold before.
    """
    with_own = np.append(confidence.astype(np.float64), threshold)
    new = float(np.percentile(with_own, 100 * (1 - share * threshold**gamma)))
    moved = momentum * threshold + (1 - momentum) * new
    return moved if moved < 1 else LARGEST


class InstanceThresholds:
    """Thresholds that follow the images of a round.

    Args:
        num_classes: Number of classes, C.
        share: Share a.
        gamma: Power of the threshold.
        momentum: Weight of the threshold before.

    Attributes:
        values: Thresholds, (C,).
    """

    def __init__(self, num_classes: int, share: float, gamma: float, momentum: float) -> None:
        self.values: NDArray[np.float64] = np.full(num_classes, START)
        self.rule = (share, gamma, momentum)

    def labels(self, shares: Tensor) -> Tensor:
        """Labels (1, H, W) of an image, 255 for none; the thresholds follow the image first.

        Args:
            shares: Softmax probabilities, (1, C, H, W).
        """
        confidence, labels = shares.max(dim=1)
        values, classes = confidence.double().cpu().numpy(), labels.cpu().numpy()
        for c, threshold in enumerate(self.values):
            self.values[c] = moved_threshold(values[classes == c], threshold, *self.rule)
        kept = torch.from_numpy(values >= self.values[classes]).to(labels.device)
        return labels.masked_fill(~kept, IGNORE_INDEX)


class InstanceAdaptive(ClassBalanced):
    """Instance-adaptive self-training.

    Args:
        given: Networks and passes; the labelling network is the student.
        rounds: Number of rounds.
        share: Share a in the first round.
        share_step: Increase of that share from round to round.
        gamma: Power by which a low threshold lowers the share.
        momentum: Weight of the old threshold after each image.
        entropy: Weight of E.
        divergence: Weight of K.
    """

    def __init__(
        self,
        given: Given,
        *,
        rounds: int,
        share: float,
        share_step: float,
        gamma: float,
        momentum: float,
        entropy: float,
        divergence: float,
    ) -> None:
        super().__init__(given, share=share, rounds=rounds, share_step=share_step)
        self.rule = (gamma, momentum)
        self.weights = (entropy, divergence)

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images."""
        assert labels is not None
        share = share_of_round(number, *self.shares)
        thresholds = InstanceThresholds(self.given.num_classes, share, *self.rule)
        if "thresholds" in labels.kept:
            thresholds.values = labels.kept["thresholds"].copy()
        offline = OfflinePass(images, labels, lambda: {"thresholds": thresholds.values.copy()})
        offline.write(
            lambda batch: torch.cat([thresholds.labels(p) for p in self.shares_of(batch).split(1)])
        )

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Predicted classes of images (N, 3, H, W), whose thresholds are moved on the CPU."""
        return self.shares_of(images).max(dim=1).indices

    def loss(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """The loss of a part of the batch."""
        kept, all_kept, classes = kept_pixels(labels), kept_pixels(whole), logits.shape[1]
        unsure = mean_over(entropy(logits), ~kept, ~all_kept) / classes
        smooth = mean_over(uniform_cross_entropy(logits), kept, all_kept) / classes
        own = kept_cross_entropy(logits, labels, whole)
        return own + self.weights[0] * unsure + self.weights[1] * smooth
