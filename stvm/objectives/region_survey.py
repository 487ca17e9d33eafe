"""The pass of a labelling network that finds regions to paste: sure pixels, or labels that last.

The labels stand on disk, one byte for each pixel: the class, and 128 more where its confidence is
below that of the class's share. So the next pass can compare all labels with its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.objectives.confidence_histogram import ConfidenceHistogram, as_float32_bound
from stvm.objectives.label_store import LabelStore, read_labels, round_folder
from stvm.objectives.objective import Given, TargetImages
from stvm.objectives.offline_pass import OfflinePass

UNSURE = 128
"""Added to the class of a pixel that is not banked."""


def rank_kept(count: int, share: float) -> int:
    """Rank of the last of some sorted values that belongs to a share of them, counted from 1."""
    return max(1, count - round((1 - share) * count))


def share_thresholds(histogram: ConfidenceHistogram, share: float) -> NDArray[np.float64]:
    """Confidence that a share of each class's pixels reaches, (C,).

    Args:
        histogram: Confidences of the predicted pixels.
        share: Share of the pixels of each class.
    """
    return histogram.ranked([rank_kept(int(count), share) for count in histogram.totals()])


def sure_labels(shares: Tensor, thresholds: NDArray[np.float64]) -> Tensor:
    """Predicted classes, 128 more below the threshold of the class, (N, H, W).

    Args:
        shares: Softmax probabilities, (N, C, H, W).
        thresholds: Least confidence of a banked pixel of each class, (C,).
    """
    bound = torch.from_numpy(as_float32_bound(thresholds, strict=False)).to(shares.device)
    return labels_by_bound(shares, bound)


def labels_by_bound(shares: Tensor, bound: Tensor) -> Tensor:
    """`sure_labels` with thresholds (C,) on the device of the probabilities."""
    confidence, labels = shares.max(dim=1)
    return labels + UNSURE * (confidence < bound[labels])


@torch.no_grad()
def shares_by(given: Given, images: Tensor) -> Tensor:
    """Softmax probabilities of the labelling network on images (N, 3, H, W), (N, C, H, W)."""
    return given.label.logits(images)[1].softmax(dim=1)


def agreements(labels: Tensor, before: Tensor, num_classes: int) -> Tensor:
    """Intersection over union of each class in an image under two labellings, (C,).

    Args:
        labels: Classes, (H, W).
        before: Classes of the round before, (H, W).
        num_classes: Number of classes, C.
    """
    pairs = torch.bincount((labels * num_classes + before).flatten(), minlength=num_classes**2)
    table = pairs.view(num_classes, num_classes).double()
    both = table.diagonal()
    return both / (table.sum(0) + table.sum(1) - both + 1e-8)


def agreed_regions(agreement: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Images on which each class agrees best with the round before, (M, C).

    Of the images on which the class agrees at all, a share is above the threshold.

    Args:
        agreement: Intersection over union of each image and class, (M, C).
        share: Share of the images.
    """
    bounds = []
    for values in agreement.T:
        found = np.sort(values[values > 0])[::-1]
        bounds.append(found[rank_kept(len(found), share) - 1] if len(found) else 0.0)
    kept: NDArray[np.bool_] = agreement >= np.array(bounds)
    return kept


def labels_before(folder: Path, index: int, size: tuple[int, int]) -> Tensor:
    """Predicted classes (H, W) of an image in the labels of another round."""
    return read_labels(folder, index, size, (0, 0), size).long() % UNSURE


class RegionSurvey:
    """The pass of a round.

    Args:
        given: Networks and passes; the labelling network labels.
        images: Target images.
        labels: Labels of the round, complete or as far as an interrupted pass came.

    Attributes:
        predicted: Pixels of each image that are predicted as each class, (M, C).
        sure: Those of them that are banked, (M, C).
        agreement: Intersection over union with the labels of the round before, (M, C).
    """

    def __init__(self, given: Given, images: TargetImages, labels: LabelStore) -> None:
        self.given = given
        self.labels = labels
        self.place = labels.done
        shape = (len(images), given.num_classes)
        empty = np.zeros(shape, np.int64)
        kept = labels.kept
        self.predicted: NDArray[np.int64] = kept.get("predicted", empty).copy()
        self.sure: NDArray[np.int64] = kept.get("sure", empty).copy()
        self.agreement: NDArray[np.float64] = kept.get("agreement", np.zeros(shape)).copy()
        self.offline = OfflinePass(images, labels, self.arrays)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What the pass has found so far, by name."""
        names = ("predicted", "sure", "agreement")
        return {name: getattr(self, name).copy() for name in names}

    def first(self, share: float) -> NDArray[np.bool_]:
        """Banks the most confident pixels; the images on which a class is banked, (M, C).

        Args:
            share: Share of the pixels of each class.
        """
        histogram = self.offline.survey(self.given.num_classes, self.shares_of)
        thresholds = share_thresholds(histogram, share)
        self.offline.write(
            lambda images: self.counted(sure_labels(self.shares_of(images), thresholds))
        )
        return self.sure > 0

    def next(self, number: int, share: float) -> NDArray[np.bool_]:
        """Banks the classes whose labels last; the images on which a class is banked, (M, C).

        Args:
            number: Number of the round, from 2.
            share: Share of the images of each class.
        """
        before = round_folder(self.labels.folder.parent, number - 1)
        self.offline.write(lambda images: self.compared(self.shares_of(images).argmax(1), before))
        return agreed_regions(self.agreement, share) & (self.sure > 0)

    def shares_of(self, images: Tensor) -> Tensor:
        """Softmax probabilities of the labelling network, (N, C, H, W)."""
        return shares_by(self.given, images)

    def compared(self, labels: Tensor, before: Path) -> Tensor:
        """Labels (N, H, W) of the next images, after their comparison with those of before."""
        for place, own in enumerate(labels.cpu(), start=self.place):
            old = labels_before(before, place, self.labels.size)
            self.agreement[place] = agreements(own, old, self.given.num_classes)
        return self.counted(labels)

    def counted(self, labels: Tensor) -> Tensor:
        """Labels (N, H, W) of the next images, after their pixels are counted."""
        classes = self.given.num_classes
        for own in labels.cpu().numpy():
            counts = np.bincount(own.ravel(), minlength=2 * UNSURE)
            self.sure[self.place] = counts[:classes]
            self.predicted[self.place] = counts[:classes] + counts[UNSURE : UNSURE + classes]
            self.place += 1
        return labels
