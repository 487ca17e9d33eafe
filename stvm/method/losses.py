"""Reliability and the loss it weighs: equations 4 and 5 of the paper."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def reliability(distances: Tensor, alpha: float, beta: float) -> Tensor:
    """Reverse sigmoid 1 / (1 + exp(-alpha (beta - d))) of the distances: eq. 4.

    Distances lie in [0, 4], so with alpha 2 and beta 0.6 the values lie in [0.001, 0.77].
    """
    return torch.sigmoid(alpha * (beta - distances))


Norm = Literal["pixels", "weights"]


def weighted_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    norm: Norm = "pixels",
    batch: Tensor | None = None,
) -> Tensor:
    """Pixel-wise cross-entropy times reliability: eq. 5, averaged over the batch.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W).
        weights: (N, H, W), the reliability.
        norm: "pixels" divides by H x W as eq. 5 does, "weights" by the sum of the weights.
        batch: weights of the whole batch, where the others are of a part of it: the losses of all
            parts add up to that of the batch.
    """
    batch = weights if batch is None else batch
    losses = F.cross_entropy(logits, labels, reduction="none") * weights
    if norm == "pixels":
        return losses.mean() * (len(weights) / len(batch))
    return losses.sum() / batch.sum().clamp(min=1e-12)


def losses_of_parts(
    student: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    weights: Tensor,
    norm: Norm,
    parts: int,
) -> Iterator[Tensor]:
    """Eq. 5 as a sum over equal parts of the batch, each made when it is asked for.

    Args:
        student: images (N, 3, H, W) to logits (N, C, H, W).
        images: (N, 3, H, W).
        labels: (N, H, W).
        weights: (N, H, W).
        norm: see `weighted_cross_entropy`.
        parts: a divisor of N.
    """
    for part in zip(images.chunk(parts), labels.chunk(parts), weights.chunk(parts), strict=True):
        yield weighted_cross_entropy(student(part[0]), part[1], part[2], norm, weights)
