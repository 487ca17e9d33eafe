"""Self-training with a hard threshold.

Loss: cross-entropy to the predicted class of the labelling network, mean over the pixels whose
confidence max p is above the threshold; 0 if there is none.
Source: common; mode "hard" of MaxSquareLoss (Chen et al. 2019) has the threshold 0.95, others 0.9.
Trained: all; running statistics follow, weights of batch norm are fixed (`student_bn=statistics`).
Labels: in each batch on the clean image, by the frozen start, or by the mean teacher with
`mt=true`. With `labeller=student` the student labels, and so confirms itself.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels
from stvm.objectives.objective import Given, Objective, TargetBatch, in_labelled_parts


class HardLabels(Objective):
    """Self-training on confident labels.

    Args:
        given: Networks and passes to work with.
        threshold: Confidence above which a label is trained on.
    """

    def __init__(self, given: Given, *, threshold: float) -> None:
        super().__init__(given)
        self.threshold = threshold
        self.kept: Tensor = torch.zeros(())

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        found, confidence, *_ = self.given.label(batch.images)
        labels = found.where(confidence > self.threshold, IGNORE_INDEX)
        self.kept = kept_pixels(labels).float().mean()
        for part, wanted in in_labelled_parts(self.given, batch.images, labels):
            yield kept_cross_entropy(self.given.predict(part), wanted, labels)

    def measured(self) -> Mapping[str, Tensor | float]:
        """Share of pixels with a label."""
        return {"kept": self.kept}
