"""Class-balanced thresholds and metric pseudo-labels: equation 1 of the paper."""

from typing import Literal

import torch
from torch import Tensor


def class_quantiles(confidence: Tensor, labels: Tensor, num_classes: int, q: float) -> Tensor:
    """The q-quantile of the confidences of each class, nan for a class that is absent.

    One sort serves all classes; positions between two values are interpolated linearly.

    Args:
        confidence: (P,) in [0, 1].
        labels: (P,) predicted classes.
        num_classes: C.
        q: quantile in [0, 1].

    Returns:
        (C,) quantiles.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    ends = counts.cumsum(0)
    # Confidences are below 2: one sort by class, then confidence; float64 holds both exactly.
    ranked = confidence[torch.argsort(2.0 * labels.double() + confidence.double())]
    position = (counts - 1).clamp(min=0).to(torch.float64) * q
    low = position.floor().long()
    start = ends - counts
    last = max(len(ranked) - 1, 0)
    below = ranked[(start + low).clamp(max=last)]
    above = ranked[torch.minimum(start + low + 1, ends - 1).clamp(0, last)]
    values = torch.lerp(below, above, (position - low).to(confidence.dtype))
    return torch.where(counts > 0, values, torch.full_like(values, torch.nan))


class ClassThresholds:
    """Moving average of the q_M percentile of the confidences, one threshold a class (eq. 1).

    The most confident share q_M of a class lies above the (1 - q_M)-quantile of the frame. A
    class that is absent keeps its threshold; its first appearance sets it.

    Args:
        num_classes: C.
        q_m: share of pixels kept.
        momentum: weight of the past in the moving average.
        device: where the thresholds live.
    """

    def __init__(
        self, num_classes: int, q_m: float, momentum: float, device: torch.device | str = "cpu"
    ) -> None:
        self.q_m = q_m
        self.momentum = momentum
        self.values = torch.full((num_classes,), torch.nan, device=device)

    def update(self, confidence: Tensor, labels: Tensor) -> None:
        """Move the thresholds towards those of each frame, (N, H, W) both."""
        for frame_confidence, frame_labels in zip(confidence, labels, strict=True):
            current = class_quantiles(
                frame_confidence.flatten(),
                frame_labels.flatten(),
                len(self.values),
                1.0 - self.q_m,
            )
            moved = torch.lerp(current, self.values, self.momentum)
            moved = torch.where(self.values.isnan(), current, moved)
            self.values = torch.where(current.isnan(), self.values, moved)

    def select(self, confidence: Tensor, labels: Tensor) -> Tensor:
        """Mask (N, H, W) of the metric pseudo-labels: confidence above the class's threshold.

        `labels` are the arg max and `confidence` the maximum of the softmax, so eq. 1's condition
        p = max(p) holds by construction.
        """
        return confidence > self.values[labels]


def most_confident(
    confidence: Tensor,
    labels: Tensor,
    num_classes: int,
    share: float,
    by: Literal["class", "image"],
) -> Tensor:
    """Mask (N, H, W) of the most confident share of the predictions, for Fig. 1 of the paper.

    Args:
        confidence: (N, H, W).
        labels: predicted classes (N, H, W).
        num_classes: C.
        share: in (0, 1].
        by: the share of each predicted class of an image, or of the image as a whole.
    """
    groups = labels if by == "class" else torch.zeros_like(labels)
    least = torch.stack(
        [
            class_quantiles(c.flatten(), g.flatten(), num_classes, 1.0 - share)
            for c, g in zip(confidence, groups, strict=True)
        ]
    )
    limits = least.gather(1, groups.flatten(1)).view_as(confidence)
    return confidence >= limits
