"""MinEnt: minimum entropy of the predictions.

Loss: mean over all pixels of H(p) / ln C, which is in [0, 1].
Source: ADVENT (Vu et al. 2019); advent/utils/loss.py of its release, whose log2 cancels.
Published: weight 0.001 beside the source loss, SGD at 2.5e-4, classifier x10. Without a source loss
the weight only scales the learning rate, so it is 1 here.
Trained: all; running statistics follow, weights of batch norm are fixed (`student_bn=statistics`).
Labels: none.
"""

import math
from collections.abc import Iterator

from torch import Tensor

from stvm.objectives.entropy import entropy
from stvm.objectives.objective import Objective, TargetBatch, in_parts


def normalised_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the pixels, divided by that of equal probabilities; in [0, 1].

    Args:
        logits: Logits, (N, C, H, W).
    """
    return entropy(logits).mean() / math.log(logits.shape[1])


class MinEnt(Objective):
    """Minimum entropy."""

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        images = self.given.augment(batch.images)
        return in_parts(self.given, images, normalised_entropy)
