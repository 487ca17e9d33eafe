"""Class-balanced thresholds and metric pseudo-labels: equation 1 of the paper.

Confidence is the softmax share p of the predicted class. In float32 the share of a very confident
pixel is rounded to 1, and no share lies above a threshold of 1. There the doubt log(1 - p) still
tells the pixels apart.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stvm.errors import StvmError

SATURATED = 1 - 2**-20
"""Largest threshold that shares are compared with. Above it fewer than 16 float32 numbers are left
below 1, and doubts are compared instead."""


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
        values: Values of the pixels, (P,), for instance their confidence.
        labels: Predicted classes, (P,).
        num_classes: Number of classes, C.
        q: Quantile, in [0, 1].
        between: Interpolation between two values, called as `torch.lerp`.

    Returns:
        The quantiles, (C,).
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
    """log(lerp(exp(first), exp(second), weight)): averages doubts as if they were shares."""
    share = weight if isinstance(weight, Tensor) else torch.full_like(first, weight)
    mixed = torch.logaddexp(first + torch.log1p(-share), second + share.log())
    # Rounding may not lift a threshold over the pixels that it equals.
    return mixed.clamp(torch.minimum(first, second), torch.maximum(first, second))


def doubt_of(confidence: Tensor) -> Tensor:
    """Doubt log(1 - p) computed from the share p alone, in the shape of `confidence`."""
    return torch.log1p(-confidence)


class ClassThresholds(nn.Module):
    """Moving average of a quantile of the confidence, one threshold for each class (eq. 1).

    In each image the most confident share `q_m` of a class lies above the (1 - q_m)-quantile. The
    threshold follows this quantile. A class that is absent keeps its threshold; its first
    appearance sets it.

    Args:
        num_classes: Number of classes, C.
        q_m: Share of a class's pixels that is selected, in (0, 1); q_M in the paper.
        momentum: Weight of the past in the moving average, in [0, 1).

    Attributes:
        values: Thresholds, (C,); nan for a class that has not occurred yet.
        doubts: The same thresholds as log(1 - threshold), (C,).
    """

    values: Tensor
    doubts: Tensor

    def __init__(self, num_classes: int, *, q_m: float = 0.2, momentum: float = 0.9) -> None:
        super().__init__()
        self.q_m = q_m
        self.momentum = momentum
        self.register_buffer("values", torch.full((num_classes,), torch.nan))
        self.register_buffer("doubts", self.values.clone())

    def forward(self, confidence: Tensor, labels: Tensor, doubt: Tensor | None = None) -> Tensor:
        """Update the thresholds, then select with them: `update` followed by `select`.

        Args:
            confidence: Largest softmax share of each pixel, (N, H, W).
            labels: Predicted classes, (N, H, W).
            doubt: log(1 - confidence), (N, H, W); computed from `confidence` if left out.

        Returns:
            Mask of the selected pixels, (N, H, W).
        """
        self.update(confidence, labels, doubt)
        return self.select(confidence, labels, doubt)

    def update(self, confidence: Tensor, labels: Tensor, doubt: Tensor | None = None) -> None:
        """Move the thresholds towards the quantiles of each image; shapes as in `forward`."""
        confidence, doubt = self._in_own_precision(confidence, doubt)
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
        if len(current) != len(kept):
            raise StvmError(
                f"ClassThresholds: a label is {len(current) - 1}, not a class from 0 to "
                f"{len(kept) - 1}: give num_classes of the labelling network, and no ignored "
                "pixels (255)"
            )
        moved = mix(current, kept, self.momentum)
        moved = torch.where(kept.isnan(), current, moved)
        return torch.where(current.isnan(), kept, moved)

    def _in_own_precision(self, confidence: Tensor, doubt: Tensor | None) -> tuple[Tensor, Tensor]:
        """Confidence and doubt, (N, H, W), in the precision of the thresholds."""
        doubt = doubt_of(confidence) if doubt is None else doubt
        return confidence.to(self.values.dtype), doubt.to(self.values.dtype)

    def select(self, confidence: Tensor, labels: Tensor, doubt: Tensor | None = None) -> Tensor:
        """Mask (N, H, W) of the metric pseudo-labels: confidence above the class's threshold.

        Eq. 1 also asks for p = max(p). This holds by construction, since `labels` are the arg max
        and `confidence` the maximum of the softmax. Shapes as in `forward`.
        """
        confidence, doubt = self._in_own_precision(confidence, doubt)
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
        confidence: Largest softmax share of each pixel, (N, H, W).
        labels: Predicted classes, (N, H, W).
        num_classes: Number of classes, C.
        share: Share that is kept, in (0, 1].
        by: Group that the share is taken of: each predicted class of an image, or the whole image.
        doubt: log(1 - confidence), (N, H, W); computed from `confidence` if left out.
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
