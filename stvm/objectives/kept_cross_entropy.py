"""Cross-entropy on the pixels that have a label."""

from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX


def kept_pixels(labels: Tensor) -> Tensor:
    """Mask of the pixels that have a label, in the shape of `labels`."""
    return labels != IGNORE_INDEX


def kept_cross_entropy(logits: Tensor, labels: Tensor, whole: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the pixels with a label; 0 with a gradient of 0 where none has one.

    Args:
        logits: Logits, (N, C, H, W).
        labels: Classes (N, H, W), 255 for none.
        whole: Labels of the whole batch, if the other arguments are a part of it.
    """
    # Not averaged by torch: that is not deterministic on a GPU, and nan without any label.
    losses = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE_INDEX, reduction="none")
    return mean_over(losses, kept_pixels(labels), None if whole is None else kept_pixels(whole))


def mean_over(values: Tensor, mask: Tensor, whole: Tensor | None = None) -> Tensor:
    """Mean of the values where the mask is true; 0 with a gradient of 0 where it nowhere is.

    Args:
        values: Numbers, (N, H, W).
        mask: Choice of pixels, (N, H, W).
        whole: Choice in the whole batch, if the other arguments are a part of it.
    """
    chosen = mask if whole is None else whole
    return (values * mask).sum() / chosen.sum().clamp(min=1)
