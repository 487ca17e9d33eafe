"""SHOT (Liang et al. 2020): SHOT-IM, and labels of the nearest class centroid of the features.

Loss: that of SHOT-IM + 0.3 times the cross-entropy to the labels, mean over all pixels.
Labels: before each round the student, in eval mode, sees all target images. A feature gets a 1
appended and is divided by its length. The centroid of a class is the mean of all features, weighted
by the class's softmax probabilities; each feature gets the class of the centroid with the largest
cosine. Then centroids are the means of the features with their label, and features are labelled
again. A class with no more than `shot_least` labels (0) gets no centroid.
Source: github.com/tim-learn/SHOT (object/image_target.py), for images with one label each; labels
are renewed 15 times there. A feature is here one position of the network's last feature map. The
cosines are enlarged to the image bilinearly, as logits are, and the largest one labels a pixel.
The release knows a bottleneck with 256 features before the classifier; here it is whatever the
classifier of the network takes.
Trained: as SHOT-IM, everything but the classifier.
Published: none for segmentation in any file that was found.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.networks import upsample
from stvm.objectives.kept_cross_entropy import kept_cross_entropy
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, TargetBatch, TargetImages
from stvm.objectives.offline_pass import OfflinePass
from stvm.objectives.shotim import ShotIM, information_maximisation

LEAST = 1e-8
"""Added to the weight of a centroid, by which its sum is divided."""

Sums = NDArray[np.float64]


def with_unit_length(features: Tensor) -> Tensor:
    """Features with a 1 appended, divided by their length: (N, D, h, w) -> (N, D + 1, h, w)."""
    return F.normalize(F.pad(features.float(), (0, 0, 0, 0, 0, 1), value=1.0), dim=1)


def cosines(features: Tensor, centroids: Tensor) -> Tensor:
    """Cosine of each feature to each centroid; -1 for a class without one, (N, C, h, w).

    Args:
        features: Features of length 1, (N, D, h, w).
        centroids: Centroids of any length, 0 for none, (C, D).
    """
    own = F.normalize(centroids, dim=1)
    found = torch.einsum("ndhw,cd->nchw", features, own)
    return found.masked_fill((centroids == 0).all(1).view(1, -1, 1, 1), -1.0)


class Centroids:
    """Sums over the images from which class centroids follow.

    Args:
        num_classes: Number of classes, C.

    Attributes:
        sums: Weighted sums of the features and, in the last column, their weights; (C, D + 1). It
            has no columns before the first image.
        counts: Positions that are labelled as each class, (C,).
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: Sums = np.zeros((num_classes, 0))
        self.counts: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def add(self, features: Tensor, weights: Tensor, labels: Tensor) -> None:
        """Adds positions.

        Args:
            features: Features of length 1, (N, D, h, w).
            weights: Weight of each position for each class, (N, C, h, w).
            labels: Class of each position, (N, h, w).
        """
        rows = features.double().movedim(1, -1).flatten(0, 2)
        columns = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        more = (weights.double().movedim(1, 0).flatten(1) @ columns).cpu().numpy()
        self.sums = more if not self.sums.size else self.sums + more
        self.counts = self.counts + np.bincount(
            labels.flatten().cpu().numpy(), minlength=len(self.counts)
        )

    def values(self, least: int, device: torch.device) -> Tensor:
        """The centroids, 0 for a class with no more than `least` labels; (C, D).

        Raises:
            StvmError: No class has more.
        """
        if (self.counts <= least).all():
            raise StvmError(
                f"shot_least={least} leaves no class a centroid: the most frequent one has "
                f"{self.counts.max()} positions; lower shot_least"
            )
        means = self.sums[:, :-1] / (LEAST + self.sums[:, -1:])
        means[self.counts <= least] = 0
        return torch.from_numpy(means).float().to(device)


class CentroidPass:
    """The pass of a round: centroids of soft labels, then of hard ones, then the labels.

    Args:
        given: Networks and passes; the labelling network is the student.
        images: Target images.
        labels: Labels of the round, complete or as far as an interrupted pass came.
        least: Number of labels of a class, above which it gets a centroid.
    """

    def __init__(self, given: Given, images: TargetImages, labels: LabelStore, least: int) -> None:
        self.given = given
        self.least = least
        self.stages = {name: Centroids(given.num_classes) for name in ("soft", "hard")}
        for name, stage in self.stages.items():
            stage.sums = labels.kept.get(f"{name}_sums", stage.sums)
            stage.counts = labels.kept.get(f"{name}_counts", stage.counts)
        self.offline = OfflinePass(images, labels, self.arrays)

    def run(self) -> None:
        """Labels all images."""
        self.offline.show("soft", self.add_soft)
        self.offline.show("hard", self.add_hard)
        self.offline.write(self.labels_of)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The sums so far, by name."""
        sums = {f"{name}_sums": stage.sums for name, stage in self.stages.items()}
        return sums | {f"{name}_counts": stage.counts for name, stage in self.stages.items()}

    @torch.no_grad()
    def features_of(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of length 1 (N, D + 1, h, w), and probabilities (N, C, h, w) of images."""
        features = self.given.label.logits(images)[0]
        return with_unit_length(features), self.given.label.classify(features).softmax(dim=1)

    def add_soft(self, images: Tensor) -> None:
        """Adds images to the centroids whose weights are the student's shares."""
        features, shares = self.features_of(images)
        self.stages["soft"].add(features, shares, shares.argmax(1))

    def add_hard(self, images: Tensor) -> None:
        """Adds images to the centroids of the labels by the soft ones."""
        features, _ = self.features_of(images)
        labels = self.nearest("soft", features).argmax(1)
        weights = F.one_hot(labels, self.given.num_classes).movedim(-1, 1)
        self.stages["hard"].add(features, weights, labels)

    def labels_of(self, images: Tensor) -> Tensor:
        """Labels of images by the hard centroids, (N, H, W)."""
        features, _ = self.features_of(images)
        size = (images.shape[-2], images.shape[-1])
        return upsample(self.nearest("hard", features), size).argmax(1)

    def nearest(self, name: str, features: Tensor) -> Tensor:
        """Cosines of features to the centroids of a stage, (N, C, h, w)."""
        return cosines(features, self.stages[name].values(self.least, features.device))


class Shot(ShotIM):
    """Information maximisation with centroid labels.

    Args:
        given: Student, start and helpers; the labelling network is the student.
        prior: Expected class shares, see `ShotIM`.
        rounds: Number of times that labels are made.
        weight: Weight of the cross-entropy to the labels.
        least: Number of positions of a class, above which it gets a centroid.
    """

    labels_offline = True

    def __init__(
        self,
        given: Given,
        *,
        prior: Literal["uniform", "source"],
        rounds: int,
        weight: float,
        least: int,
    ) -> None:
        super().__init__(given, prior=prior)
        self.weight = weight
        self.least = least

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images; the expected shares are measured once."""
        assert labels is not None
        if number == 1:
            super().begin_round(number, images, None)
        CentroidPass(self.given, images, labels, self.least).run()

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of the whole batch."""
        assert batch.labels is not None
        logits = self.given.predict(self.given.augment(batch.images))
        prior = self.expected.values if self.expected else None
        own = kept_cross_entropy(logits, batch.labels)
        yield information_maximisation(logits, prior) + self.weight * own
