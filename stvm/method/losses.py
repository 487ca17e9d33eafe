"""Reliability and the loss it weighs: equations 4 and 5 of the paper."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def reliability(distances: Tensor, alpha: float, beta: float) -> Tensor:
    """Reverse sigmoid 1 / (1 + exp(-alpha (beta - d))) of the distances: eq. 4.

    Distances lie in [0, 4], so with alpha 2 and beta 0.6 the values lie in [0.001, 0.77].
    """
    return torch.sigmoid(alpha * (beta - distances))


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, norm: Literal["pixels", "weights"] = "pixels"
) -> Tensor:
    """Pixel-wise cross-entropy times reliability: eq. 5, averaged over the batch.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W).
        weights: (N, H, W), the reliability.
        norm: "pixels" divides by H x W as eq. 5 does, "weights" by the sum of the weights.
    """
    losses = F.cross_entropy(logits, labels, reduction="none") * weights
    return losses.mean() if norm == "pixels" else losses.sum() / weights.sum().clamp(min=1e-12)
