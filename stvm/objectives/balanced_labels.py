"""Class-balanced labels: each class keeps the same share of the pixels that it is predicted on."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.objectives.confidence_histogram import ConfidenceHistogram, as_float32_bound
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from stvm.objectives.offline_pass import OfflinePass


def share_of_round(number: int, first: float, step: float, most: float = 1.0) -> float:
    """Share of the pixels of each class that is kept in a round, counted from 1."""
    return min(first + step * (number - 1), most)


def class_thresholds(histogram: ConfidenceHistogram, share: float) -> NDArray[np.float64]:
    """K_c: the floor(share N_c)-th largest confidence of each class, 1 where that is none, (C,).

    Args:
        histogram: Confidences of the predicted pixels, N_c of class c.
        share: Share of the pixels of each class that is kept.
    """
    ranks = histogram.ranks_of_share(share)
    return np.where(ranks > 0, histogram.ranked(np.maximum(ranks, 1)), 1.0)


def balanced_labels(shares: Tensor, thresholds: NDArray[np.float64]) -> Tensor:
    """The class of the largest p_c / K_c where that is 1 or more, else 255; (N, H, W).

    Args:
        shares: Softmax probabilities p, (N, C, H, W).
        thresholds: K, (C,).
    """
    bound = torch.from_numpy(as_float32_bound(thresholds, strict=False)).to(shares.device)
    return labels_from(shares, bound)


def labels_from(shares: Tensor, bound: Tensor) -> Tensor:
    """`balanced_labels` with thresholds (C,) on the device of the shares."""
    largest, labels = (shares / bound.view(1, -1, 1, 1)).max(dim=1)
    return labels.masked_fill(largest < 1, IGNORE_INDEX)


def write_balanced_labels(
    images: TargetImages,
    labels: LabelStore,
    num_classes: int,
    share: float,
    shares_of: Callable[[Tensor], Tensor],
) -> None:
    """The offline pass: thresholds from all images, then labels.

    Args:
        images: Target images.
        labels: Labels to fill.
        num_classes: Number of classes, C.
        share: Share of the pixels of each class that is kept.
        shares_of: Function from images (N, 3, H, W) to probabilities (N, C, H, W).
    """
    if labels.complete:
        return
    offline = OfflinePass(images, labels)
    thresholds = class_thresholds(offline.survey(num_classes, shares_of), share)
    offline.write(lambda batch: balanced_labels(shares_of(batch), thresholds))
