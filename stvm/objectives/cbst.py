"""CBST: class-balanced self-training.

Loss: cross-entropy to the labels, mean over the pixels that have one. Before each round the student
labels all target images: y = argmax p_c / K_c where that quotient is 1 or more. K_c is the
confidence that a share s_r of the pixels predicted as c reaches. In round r this share is
s_r = min(0.20 + 0.05 (r - 1), 0.50).
Source: Zou et al. 2018; crst_seg.py of yzou2/CRST.
Published: 3 rounds of 2 epochs, SGD at 5e-5, batch 2; labels are means of image and mirror image.
The release counts 4 rounds, but its last one only measures: it makes no labels and trains nothing.
Here there are no source images, the crops are those of every other objective, and all target images
are labelled; the release labels 505 of them. It counts every fourth pixel for K_c; here all are
counted.
Trained: all but batch norm, which stays as it is at the start (`student_bn=frozen`): the published
commands train in eval mode, as they lack its option --is-training.
Labels: the student at the start of each round, in eval mode.
"""

from collections.abc import Iterator

from torch import Tensor

from stvm.objectives.balanced_labels import labels_from, share_of_round, write_balanced_labels
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import (
    Given,
    Objective,
    TargetBatch,
    TargetImages,
    in_labelled_parts,
)


class ClassBalanced(Objective):
    """Class-balanced self-training.

    Args:
        given: Networks and passes; the labelling network is the student.
        share: Share of the pixels of each class that is labelled in the first round.
        rounds: Number of rounds.
        share_step: Increase of that share from round to round.
        share_most: Largest share.
    """

    labels_offline = True

    def __init__(
        self,
        given: Given,
        *,
        share: float,
        rounds: int = 1,
        share_step: float = 0.0,
        share_most: float = 1.0,
    ) -> None:
        super().__init__(given)
        self.shares = (share, share_step, share_most)
        self.kept: Tensor | float = 0.0

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images."""
        assert labels is not None
        share = share_of_round(number, *self.shares)
        write_balanced_labels(images, labels, self.given.num_classes, share, self.shares_of)

    def shares_of(self, images: Tensor) -> Tensor:
        """Probabilities of the labelling network, (N, C, H, W)."""
        return self.given.label.logits(images)[1].softmax(dim=1)

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Labels of images (N, 3, H, W) by thresholds of 1."""
        return labels_from(self.shares_of(images), images.new_ones(self.given.num_classes))

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        assert batch.labels is not None
        self.kept = kept_pixels(batch.labels).float().mean()
        for part, labels in in_labelled_parts(self.given, batch.images, batch.labels):
            yield self.loss(self.given.predict(part), labels, batch.labels)

    def loss(self, logits: Tensor, labels: Tensor, whole: Tensor) -> Tensor:
        """The loss of a part of the batch.

        Args:
            logits: Logits, (n, C, H, W).
            labels: Labels, (n, H, W), 255 for none.
            whole: Labels of the whole batch.
        """
        return kept_cross_entropy(logits, labels, whole)

    def measured(self) -> dict[str, Tensor | float]:
        """Share of the pixels that have a label."""
        return {"kept": self.kept}
