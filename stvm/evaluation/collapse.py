"""Detects a training that collapses, from the classes it predicts on a few fixed images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stvm.evaluation.label_free import entropy_of, information, predict
from stvm.networks import SegmentationNetwork


@dataclass
class CollapseMonitor:
    """Measures which classes a network predicts on a few fixed unlabelled images.

    Attributes:
        network: Network that the trial reports.
        pixels: Unlabelled target images (N, 3, H, W) in [0, 1].
    """

    network: SegmentationNetwork
    pixels: Tensor

    def measure(self, iteration: int) -> dict[str, object]:
        """Shares of predicted classes, mean entropy and information (nats) after `iteration`."""
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
    """Effective number of classes, exp of the entropy of the shares; k for k equal shares."""
    return float(entropy_of(torch.tensor(shares, dtype=torch.float64)).exp())


COLLAPSED_BELOW = 0.5
"""Share of the source model's effective number of classes below which a training collapsed."""


def has_collapsed(watch: list[dict[str, object]]) -> bool:
    """True if the effective number of classes ended below half of the source model's."""
    first, last = (effective_classes(point["shares"]) for point in (watch[0], watch[-1]))  # type: ignore[arg-type]
    return last < COLLAPSED_BELOW * first
