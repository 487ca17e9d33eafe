"""TENT: minimum entropy by the weights of batch norm alone.

Loss: mean over all pixels of H(p) in nats.
Source: Wang et al. 2021; tent.py of its release, where one pass over the test data adapts.
Published: Adam at 1e-3, betas 0.9 and 0.999, no weight decay, one step for a batch. With that rate
the predictions collapse in thousands of steps.
Trained: weights and biases of batch norm. Its statistics are those of the batch; the release also
predicts with them. Here the running statistics are measured anew on all target images after the
last step (AdaBN), so that the reported network needs no batch to predict.
Labels: none.
"""

from collections.abc import Iterator

from torch import Tensor

from stvm.method.adabn import adapt_batch_norm
from stvm.objectives.entropy import entropy
from stvm.objectives.objective import Objective, TargetBatch, in_parts


class Tent(Objective):
    """Minimum entropy by batch norm."""

    weight_decay = 0.0

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        return in_parts(self.given, batch.images, lambda logits: entropy(logits).mean())

    def finish(self, images: Iterator[Tensor]) -> bool:
        """Measures the running statistics of the student anew."""
        adapt_batch_norm(self.given.student, images)
        return True
