"""URMA: labels of the source model, low entropy, and auxiliary decoders that agree.

Loss: cross-entropy to the labels, mean over the labelled pixels, + 1.0 mean H(p) / ln C
+ 0.1 sum_k mean (softmax a_k(dropout(F)) - p)**2 over pixels and classes; p takes no
gradient.
a_1 .. a_4 are classifiers with random weights on the features F, each behind its own dropout of
half of the channels; their gradient reaches the extractor.
Source: Sivaprasad and Fleuret 2021; utils/loss.py of idiap/model-uncertainty-for-adaptation.
Published: SGD at 5e-5, batch 2, decoders x10; its diversity term has weight 0 and is left out.
Trained: all, with the decoders and the weights of batch norm (`student_bn=train`); running
statistics follow. The release fixes the weights of the first batch norm only (the stem's); here
they are trained too.
Labels: those of CBST at the share 0.20, made once by the start, in eval mode, as the mean of image
and mirror image. The release counts every tenth pixel for K_c; here all are counted.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from stvm.method.mixed_statistics import plain_statistics
from stvm.networks import upsample
from stvm.objectives.cbst import ClassBalanced
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, kept_pixels
from stvm.objectives.minent import normalised_entropy
from stvm.objectives.objective import Given, TargetBatch, in_labelled_parts


def disagreement(logits: Tensor, decoded: list[Tensor]) -> Tensor:
    """Sum over the decoders: mean squared difference of their probabilities and the student's.

    Args:
        logits: Logits of the student, (N, C, H, W); they take no gradient.
        decoded: Logits of each decoder, (N, C, H, W).
    """
    shares = logits.detach().softmax(dim=1)
    return sum(
        (F.mse_loss(scores.softmax(dim=1), shares) for scores in decoded),
        start=logits.new_zeros(()),
    )


class UncertaintyReduction(ClassBalanced):
    """Uncertainty reduction with auxiliary decoders.

    Args:
        given: Networks and passes; the labelling network is the frozen start.
        share: Share of the pixels of each class that is labelled.
        entropy: Weight of the entropy.
        consistency: Weight of the decoders' disagreement.
        decoders: Number of auxiliary decoders.
        dropout: Share of the feature channels that each decoder does not see.
    """

    def __init__(
        self,
        given: Given,
        *,
        share: float,
        entropy: float,
        consistency: float,
        decoders: int,
        dropout: float,
    ) -> None:
        super().__init__(given, share=share)
        self.entropy = entropy
        self.consistency = consistency
        self.dropout = dropout
        heads = [given.start.new_head(given.num_classes) for _ in range(decoders)]
        self.heads = nn.ModuleList(heads).to(given.device).train()
        # A head may be a copy of the classifier, whose share of statistics says nothing of it.
        plain_statistics(self.heads)
        given.forward_mode.prepare(self.heads)
        wrap = given.forward_mode.wrap
        self.extract, self.classify = wrap(given.student.extract), wrap(given.student.classifier)
        self.decode = [wrap(head) for head in heads]

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        assert batch.labels is not None
        self.kept = kept_pixels(batch.labels).float().mean()
        for part, labels in in_labelled_parts(self.given, batch.images, batch.labels):
            size = (part.shape[-2], part.shape[-1])
            features = self.extract(part)
            logits = upsample(self.classify(features), size)
            decoded = [upsample(decode(self.noisy(features)), size) for decode in self.decode]
            unsure = self.entropy * normalised_entropy(logits)
            unsure = unsure + self.consistency * disagreement(logits, decoded)
            own = kept_cross_entropy(logits, labels, batch.labels)
            yield own + unsure * (len(part) / len(batch.images))

    def noisy(self, features: Tensor) -> Tensor:
        """Features (N, D, h, w) without some channels, the others enlarged in turn."""
        return F.dropout2d(features, self.dropout)

    def networks(self) -> dict[str, nn.Module]:
        """The auxiliary decoders."""
        return {"decoders": self.heads}

    def parameters(self) -> list[dict[str, Any]]:
        """The decoders' weights, at the classifier's rate."""
        return [{"params": list(self.heads.parameters()), "lr": self.given.head_lr}]
