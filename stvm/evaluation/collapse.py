"""A watch on the predicted classes, which tells a training that collapses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stvm.evaluation.label_free import entropy_of, information, predict
from stvm.networks import SegmentationNetwork


@dataclass
class CollapseMonitor:
    """The classes a network predicts on a few fixed unlabelled images, as training goes on.

    Attributes:
        network: the one reported.
        pixels: unlabelled target images (N, 3, H, W) in [0, 1].
    """

    network: SegmentationNetwork
    pixels: Tensor

    def measure(self, iteration: int) -> dict[str, object]:
        """Share of each predicted class, mean entropy and information (nats) after `iteration`."""
        prediction = predict(self.network, self.pixels)
        counts = torch.bincount(prediction.classes.flatten(), minlength=len(prediction.mean))
        shares = counts.double() / counts.sum()
        return {
            "iteration": iteration,
            "shares": [round(share, 5) for share in shares.tolist()],
            "entropy": round(float(prediction.entropy), 6),
            "information": round(float(information(prediction)), 6),
        }


def effective_classes(shares: list[float]) -> float:
    """exp of the entropy of the shares: k for k classes of equal share."""
    return float(entropy_of(torch.tensor(shares, dtype=torch.float64)).exp())


COLLAPSED_BELOW = 0.5


def has_collapsed(watch: list[dict[str, object]]) -> bool:
    """The effective number of predicted classes ended below half of the source model's."""
    first, last = (effective_classes(point["shares"]) for point in (watch[0], watch[-1]))  # type: ignore[arg-type]
    return last < COLLAPSED_BELOW * first
