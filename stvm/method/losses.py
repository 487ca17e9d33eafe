"""Reliability of pseudo-labels and the loss that it weights: equations 4 and 5 of the paper."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def reliability(distances: Tensor, alpha: float = 2.0, beta: float = 0.6) -> Tensor:
    """Reverse sigmoid 1 / (1 + exp(-alpha (beta - d))) of the distances d: eq. 4.

    Args:
        distances: Distances between metric features and proxies (eq. 3), in [0, 4], any shape.
        alpha: Sharpness of the sigmoid.
        beta: Distance at which the reliability is 0.5.

    Returns:
        Reliability in (0, 1), in the shape of `distances`; in [0.001, 0.77] for the default values.
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
    """Cross-entropy of each pixel times its reliability: eq. 5, averaged over the batch.

    Args:
        logits: Scores of the student, (N, C, H, W).
        labels: Pseudo-labels, (N, H, W).
        weights: Reliability of the pseudo-labels, (N, H, W).
        norm: Divisor of the sum: "pixels" is H x W as in eq. 5, "weights" the sum of the weights.
        batch: Weights of the whole batch if the other arguments are one part of it. The losses of
            all parts then add up to the loss of the batch.

    Returns:
        The loss, a scalar.
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
    """The loss of eq. 5, one equal part of the batch after another; each is computed when needed.

    Args:
        student: Network, images (N, 3, H, W) -> logits (N, C, H, W).
        images: Input of the student, (N, 3, H, W).
        labels: Pseudo-labels, (N, H, W).
        weights: Reliability of the pseudo-labels, (N, H, W).
        norm: Divisor of the sum, see `weighted_cross_entropy`.
        parts: Number of parts, a divisor of N.
    """
    for part in zip(images.chunk(parts), labels.chunk(parts), weights.chunk(parts), strict=True):
        yield weighted_cross_entropy(student(part[0]), part[1], part[2], norm, weights)
