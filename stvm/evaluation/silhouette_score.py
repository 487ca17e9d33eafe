"""Exact silhouette of labelled features, in time linear in their number.

With the squared distance of equation 3, the mean distance of a point x to a cluster follows from
the cluster's count n, sum S and sum of squares Q: |x|^2 - 2 x.S/n + Q/n. Two passes over the
points replace the matrix of all pairs (Rousseeuw 1987).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX
from stvm.errors import StvmError

Batch = tuple[Tensor, dict[str, Tensor]]
"""Features (P, D), and labels (P,) by the name of their labelling; 255 is left out."""

_TWO_CLASSES = "silhouette_score needs features of two classes or more"

_PART = {"cpu": 4096, "cuda": 65536}
"""Points per part: few enough for a processor's cache, enough to keep a GPU busy."""


class ClusterSums:
    """Count, sum and sum of squares of the features of each cluster, in float64.

    Args:
        num_classes: Number of classes, C.
        dimension: Number of features of a point, D.
        device: Device of the features.
    """

    def __init__(self, num_classes: int, dimension: int, device: torch.device) -> None:
        zeros = torch.zeros(num_classes, dimension + 2, dtype=torch.float64, device=device)
        self.count, self.squares, self.total = zeros[:, 0], zeros[:, 1], zeros[:, 2:]

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Adds features (P, D) to the clusters of their labels (P,)."""
        for x, own in _parts(features, labels):
            members = F.one_hot(own, len(self.count)).T.double()
            self.count += members.sum(1)
            self.squares += members @ x.square().sum(1)
            self.total += members @ x

    def silhouette(self, features: Tensor, labels: Tensor) -> Tensor:
        """(b - a) / max(a, b) of each feature, (P,); 0 for the only member of a cluster.

        a is the mean squared distance to the other members of its cluster, b the least mean
        squared distance to another cluster. All clusters must have been added before.
        """
        return torch.cat([self._values(x, own) for x, own in _parts(features, labels)])

    def _values(self, x: Tensor, labels: Tensor) -> Tensor:
        mean = self.total / self.count.clamp(min=1).unsqueeze(1)
        spread = self.squares / self.count.clamp(min=1)
        far = x.square().sum(1, keepdim=True) - 2 * x @ mean.T + spread
        own = labels.unsqueeze(1)
        count = self.count[labels]
        a = far.gather(1, own).squeeze(1) * count / (count - 1).clamp(min=1)
        empty = (self.count == 0).expand_as(far)
        b = far.masked_fill(empty, torch.inf).scatter(1, own, torch.inf).amin(1)
        widest = torch.maximum(a, b)
        value = torch.where(widest > 0, (b - a) / widest, torch.zeros_like(b))
        return torch.where((count > 1) & b.isfinite(), value, torch.zeros_like(b))


def _parts(features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of the features in float64."""
    size = _PART.get(features.device.type, 65536)
    for x, own in zip(features.split(size), labels.split(size), strict=True):
        yield x.double(), own


def silhouette_score(
    features: Tensor,
    labels: Tensor,
    *,
    average: Literal["points", "classes"] = "points",
    normalise: bool = True,
) -> float:
    """Mean silhouette of labelled features under the squared distance of eq. 3.

    Exact, and in time linear in the number of points. It equals scikit-learn's `silhouette_score`
    with `metric="sqeuclidean"` on the same (normalised) features.

    Args:
        features: Metric features, (P, D).
        labels: Class of each feature, (P,); points with label 255 are left out.
        average: Mean over all points, or over the means of the classes (Table VII has both).
        normalise: Whether the features are divided by their norms first, as in eq. 3.

    Returns:
        The mean silhouette in [-1, 1].

    Raises:
        StvmError: Fewer than two classes occur, or the shapes are others.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise StvmError(
            f"silhouette_score: features {tuple(features.shape)} and labels "
            f"{tuple(labels.shape)}: give features (P, D) and one label for each of them, (P,)"
        )
    labels = labels.long()
    points = F.normalize(features.detach(), dim=1) if normalise else features.detach()
    known = labels[labels != IGNORE_INDEX]
    if not len(known):
        raise StvmError(_TWO_CLASSES)
    classes = int(known.max()) + 1
    batches = [(points, {"labels": labels})]
    found = silhouettes(lambda: batches, classes, points.shape[1], points.device)["labels"]
    if found is None:
        raise StvmError(_TWO_CLASSES)
    return float(found["overall_mean" if average == "points" else "class_mean"])


def silhouettes(
    batches: Callable[[], Iterable[Batch]], num_classes: int, dimension: int, device: torch.device
) -> dict[str, dict[str, Any] | None]:
    """Silhouette of the same features under each way of labelling them.

    Args:
        batches: Function that yields all features with their labels, the same at each call.
        num_classes: Number of classes, C.
        dimension: Number of features of a point, D.
        device: Device of the features.

    Returns:
        For each labelling {"class": mean of each class, None for a class without points;
        "class_mean": mean of these; "overall_mean": mean over all points}. None in place of the
        dictionary if there are fewer than two classes.
    """
    sums: dict[str, ClusterSums] = {}
    for name, features, labels in _known(batches()):
        if name not in sums:
            sums[name] = ClusterSums(num_classes, dimension, device)
        sums[name].add(features, labels)
    totals = {name: torch.zeros_like(sums[name].count) for name in sums}
    for name, features, labels in _known(batches()):
        values = sums[name].silhouette(features, labels)
        # Not `bincount`: a GPU refuses its weights in deterministic mode. The sums are taken batch
        # by batch, so that they equal those of recorded trials to the bit.
        totals[name] += torch.zeros_like(totals[name]).index_add_(0, labels, values)
    return {name: _summary(totals[name], sums[name].count) for name in sums}


def _known(batches: Iterable[Batch]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each labelling of each batch, without its ignored points."""
    for features, labellings in batches:
        for name, labels in labellings.items():
            known = labels != IGNORE_INDEX
            yield (
                (name, features, labels) if known.all() else (name, features[known], labels[known])
            )


def _summary(total: Tensor, count: Tensor) -> dict[str, Any] | None:
    if int((count > 0).sum()) < 2:
        return None
    means = total / count
    return {
        "class": [None if v != v else v for v in means.tolist()],
        "class_mean": float(means.nanmean()),
        "overall_mean": float(total.sum() / count.sum()),
    }
