"""Class-balanced thresholds and metric pseudo-labels: equation 1 of the paper.

Confidence is the share p of the predicted class. In float32 the shares of sure pixels are all 1,
and none lies above a threshold of 1. Doubt, log(1 - p), tells them apart where p does not.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

SATURATED = 1 - 2**-20
"""Above it a float32 share has fewer than 16 steps left to 1."""


def class_quantiles(
    values: Tensor,
    labels: Tensor,
    num_classes: int,
    q: float,
    between: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.lerp,
) -> Tensor:
    """The q-quantile of the values of each class, nan for a class that is absent.

    Positions between two values are interpolated linearly.

    Args:
        values: (P,), of confidence for instance.
        labels: (P,) predicted classes.
        num_classes: C.
        q: quantile in [0, 1].
        between: interpolates, as `torch.lerp` does.

    Returns:
        (C,) quantiles.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    ends = counts.cumsum(0)
    order = values.argsort()
    ranked = values[order[labels[order].argsort(stable=True)]]
    position = (counts - 1).clamp(min=0).to(torch.float64) * q
    low = position.floor().long()
    start = ends - counts
    last = max(len(ranked) - 1, 0)
    below = ranked[(start + low).clamp(max=last)]
    above = ranked[torch.minimum(start + low + 1, ends - 1).clamp(0, last)]
    found = between(below, above, (position - low).to(values.dtype))
    return torch.where(counts > 0, found, torch.full_like(found, torch.nan))


def mix_logs(first: Tensor, second: Tensor, weight: Tensor | float) -> Tensor:
    """The logarithm of lerp(exp(first), exp(second), weight): doubts averaged as shares are."""
    share = weight if isinstance(weight, Tensor) else torch.full_like(first, weight)
    mixed = torch.logaddexp(first + torch.log1p(-share), second + share.log())
    # Rounding may not lift a threshold over the pixels that it equals.
    return mixed.clamp(torch.minimum(first, second), torch.maximum(first, second))


def doubt_of(confidence: Tensor) -> Tensor:
    """Doubt where nothing but the share is known."""
    return torch.log1p(-confidence)


class ClassThresholds:
    """Moving average of the q_M percentile of the confidences, one threshold a class (eq. 1).

    The most confident share q_M of a class lies above the (1 - q_M)-quantile of the frame. A
    class that is absent keeps its threshold; its first appearance sets it.

    Args:
        num_classes: C.
        q_m: share of pixels kept.
        momentum: weight of the past in the moving average.
        device: where the thresholds live.

    Attributes:
        values: the thresholds, (C,).
        doubts: the same as log(1 - threshold), (C,).
    """

    def __init__(
        self, num_classes: int, q_m: float, momentum: float, device: torch.device | str = "cpu"
    ) -> None:
        self.q_m = q_m
        self.momentum = momentum
        self.values = torch.full((num_classes,), torch.nan, device=device)
        self.doubts = self.values.clone()

    def update(self, confidence: Tensor, labels: Tensor, doubt: Tensor | None = None) -> None:
        """Move the thresholds towards those of each frame, (N, H, W) all."""
        doubt = doubt_of(confidence) if doubt is None else doubt
        for shares, doubts, classes in zip(confidence, doubt, labels, strict=True):
            self.values = self._moved(self.values, shares, classes, torch.lerp)
            self.doubts = self._moved(self.doubts, doubts, classes, mix_logs, descending=True)

    def _moved(
        self,
        kept: Tensor,
        values: Tensor,
        labels: Tensor,
        mix: Callable[[Tensor, Tensor, Any], Tensor],
        descending: bool = False,
    ) -> Tensor:
        """Thresholds after a frame; doubt falls where confidence rises."""
        q = self.q_m if descending else 1.0 - self.q_m
        current = class_quantiles(values.flatten(), labels.flatten(), len(kept), q, mix)
        moved = mix(current, kept, self.momentum)
        moved = torch.where(kept.isnan(), current, moved)
        return torch.where(current.isnan(), kept, moved)

    def select(self, confidence: Tensor, labels: Tensor, doubt: Tensor | None = None) -> Tensor:
        """Mask (N, H, W) of the metric pseudo-labels: confidence above the class's threshold.

        `labels` are the arg max and `confidence` the maximum of the softmax, so eq. 1's condition
        p = max(p) holds by construction.
        """
        doubt = doubt_of(confidence) if doubt is None else doubt
        least = self.values[labels]
        surer = doubt < self.doubts[labels]
        return torch.where(least > SATURATED, surer, confidence > least)


def most_confident(
    confidence: Tensor,
    labels: Tensor,
    num_classes: int,
    share: float,
    by: Literal["class", "image"],
    doubt: Tensor | None = None,
) -> Tensor:
    """Mask (N, H, W) of the most confident share of the predictions, for Fig. 1 of the paper.

    Args:
        confidence: (N, H, W).
        labels: predicted classes (N, H, W).
        num_classes: C.
        share: in (0, 1].
        by: the share of each predicted class of an image, or of the image as a whole.
        doubt: (N, H, W); from the confidence where it is left out.
    """
    doubt = doubt_of(confidence) if doubt is None else doubt
    groups = labels if by == "class" else torch.zeros_like(labels)

    def limits(values: Tensor, q: float) -> Tensor:
        found = [
            class_quantiles(v.flatten(), g.flatten(), num_classes, q)
            for v, g in zip(values, groups, strict=True)
        ]
        return torch.stack(found).gather(1, groups.flatten(1)).view_as(values)

    least = limits(confidence, 1.0 - share)
    return torch.where(least > SATURATED, doubt <= limits(doubt, share), confidence >= least)
