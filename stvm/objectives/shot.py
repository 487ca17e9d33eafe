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
from stvm.networks import preserve_modes, upsample
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


def weighted_sums(features: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of features and, in the last column, the sums of the weights; (C, D + 1).

    Args:
        features: Features of length 1, (N, D, h, w).
        weights: Weight of each position for each class, (N, C, h, w).
    """
    rows = features.double().movedim(1, -1).flatten(0, 2)
    columns = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
    return weights.double().movedim(1, 0).flatten(1) @ columns


class Looks:
    """What a batch of images gives to the pass of a round, at each of its three looks.

    Args:
        given: Networks and passes; the labelling network is the student.
    """

    def __init__(self, given: Given) -> None:
        self.given = given

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """Features of images in eval mode, (N, D, h, w)."""
        network = self.given.label.network
        with preserve_modes(network):
            network.eval()
            return self.given.label.extract(images)

    @torch.no_grad()
    def soft(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Sums weighted by the student's probabilities, (C, D + 2), and its classes (N, h, w)."""
        maps = self.maps(images)
        features, shares = with_unit_length(maps), self.given.label.classify(maps).softmax(dim=1)
        return weighted_sums(features, shares), shares.argmax(1)

    def hard(self, images: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the positions of each label, (C, D + 2), and the labels (N, h, w).

        Args:
            images: Images, (N, 3, H, W).
            centroids: Centroids by which positions are labelled, (C, D + 1).
        """
        features = with_unit_length(self.maps(images))
        labels = cosines(features, centroids).argmax(1)
        weights = F.one_hot(labels, self.given.num_classes).movedim(-1, 1)
        return weighted_sums(features, weights), labels

    def labels(self, images: Tensor, centroids: Tensor) -> Tensor:
        """Labels of images by centroids (C, D + 1), (N, H, W)."""
        near = cosines(with_unit_length(self.maps(images)), centroids)
        return upsample(near, (images.shape[-2], images.shape[-1])).argmax(1)


class Centroids:
    """Sums over the images from which class centroids follow.

    Args:
        num_classes: Number of classes, C.

    Attributes:
        sums: Their `weighted_sums`, (C, D + 1); without columns before the first image.
        counts: Positions that are labelled as each class, (C,).
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: Sums = np.zeros((num_classes, 0))
        self.counts: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def add(self, sums: Tensor, labels: Tensor) -> None:
        """Adds positions.

        Args:
            sums: Their `weighted_sums`, (C, D + 1).
            labels: Class of each position, any shape.
        """
        more = sums.cpu().numpy()
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
        self.looks = Looks(given)
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

    def add_soft(self, images: Tensor) -> None:
        """Adds images to the centroids whose weights are the student's probabilities."""
        self.stages["soft"].add(*self.looks.soft(images))

    def add_hard(self, images: Tensor) -> None:
        """Adds images to the centroids of the labels by the soft ones."""
        self.stages["hard"].add(*self.looks.hard(images, self.values("soft")))

    def labels_of(self, images: Tensor) -> Tensor:
        """Labels of images by the hard centroids, (N, H, W)."""
        return self.looks.labels(images, self.values("hard"))

    def values(self, name: str) -> Tensor:
        """The centroids of a stage, (C, D + 1)."""
        return self.stages[name].values(self.least, self.given.device)


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

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Labels of images (N, 3, H, W), after the other looks of the pass at them."""
        super().label_batch(images)
        looks = Looks(self.given)
        sums, _ = looks.soft(images)
        centroids = sums[:, :-1].float()
        looks.hard(images, centroids)
        return looks.labels(images, centroids)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of the whole batch."""
        assert batch.labels is not None
        logits = self.given.predict(self.given.augment(batch.images))
        prior = self.expected.values if self.expected else None
        own = kept_cross_entropy(logits, batch.labels)
        yield information_maximisation(logits, prior) + self.weight * own
