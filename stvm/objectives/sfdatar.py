"""SFDA-TAR: the target loss of SFDA (Liu et al. 2021), which makes confident pixels more confident.

Loss: -mean_n sum_c p_nc^2 over all pixels n of the batch. It has no factor 1/2 and no 1/C, so its
gradient is 2C times that of MaxSquares.
Source: a summary of the paper's text; no public code was found.
Published: weight 1, SGD with Nesterov momentum 2.5e-4, weight decay 1e-4, batch 8.
The rest of SFDA is left out: a generator of source-like images, and losses on its images.
Trained: all, with the weights of batch norm (`student_bn=train`); running statistics follow.
Labels: none.
"""

from collections.abc import Iterator

from torch import Tensor

from stvm.objectives.objective import Objective, TargetBatch, in_parts


def squared_shares(logits: Tensor) -> Tensor:
    """The target loss of logits (N, C, H, W), a scalar: -1 if certain, -1/C if all p are equal."""
    return -logits.softmax(1).square().sum(1).mean()


class SfdaTarget(Objective):
    """The target loss of SFDA."""

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        images = self.given.augment(batch.images)
        return in_parts(self.given, images, squared_shares)
