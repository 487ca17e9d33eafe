"""The loss that reliability weighs: equation 5 of the paper."""

from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.method.checked_input import check_choice

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

    Raises:
        StvmError: Labels and weights of different shapes, or another `norm`.
    """
    check_choice("weighted_cross_entropy", "norm", norm, Norm)
    if labels.shape != weights.shape:
        raise StvmError(
            f"weighted_cross_entropy: labels {tuple(labels.shape)} and weights "
            f"{tuple(weights.shape)}: give one weight for each label"
        )
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
