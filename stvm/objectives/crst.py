"""CRST-MRKLD: class-balanced self-training whose labelled pixels are kept from certainty.

Loss: that of CBST, plus 0.1 times the mean over the labelled pixels of -(1/C) sum_c ln p_c. This is
KL(uniform || p) + ln C, so its least value is ln C and not 0.
Source: Zou et al. 2019; crst_seg.py of yzou2/CRST.
Published, trained, labels: as CBST.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from stvm.objectives.cbst import ClassBalanced
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels, mean_over
from stvm.objectives.objective import Given


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """-(1/C) sum_c ln p_c of each pixel, (N, C, H, W) -> (N, H, W)."""
    return -F.log_softmax(logits, dim=1).mean(dim=1)


class ConfidenceRegularised(ClassBalanced):
    """CBST with the regulariser MRKLD.

    Args:
        given: Networks and passes; the labelling network is the student.
        divergence: Weight of the regulariser.
        labelling: Settings of `ClassBalanced`.
    """

    def __init__(self, given: Given, *, divergence: float, **labelling: Any) -> None:
        super().__init__(given, **labelling)
        self.divergence = divergence

    def loss(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """The loss of a part of the batch."""
        smooth = mean_over(uniform_cross_entropy(logits), kept_pixels(labels), kept_pixels(whole))
        return kept_cross_entropy(logits, labels, whole) + self.divergence * smooth
