"""SRDA (Bateson et al. 2020): weighted entropy, and class shares that are near to a prior.

Loss: -sum_nc v_c p_nc ln p_nc / sum_nc p_nc + lambda KL(s || prior), with 1e-10 added inside the
logarithms. The first sums go over all pixels n of the batch. s is the mean of p over the whole
batch; or it is the mean over one image, and KL is averaged over the images (`srda_shares`).
Source: github.com/mathilde-b/SFDA (losses.py, `EntKLProp`), for medical images with two to five
classes. There the prior is the image's own, from a regressor of sizes.
Published: lambda 1, and weights v_c that add up to 1.
Here v_c is proportional to the inverse of the prior, and all v_c add up to 1. The prior holds the
class shares that the start predicts on the target's training images; this needs no label.
Trained: all, with the weights of batch norm (`student_bn=train`); running statistics follow.
Labels: none.
"""

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor

from stvm.objectives.class_shares import SharesOfStart, divergence, uniform_shares
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, Objective, TargetBatch, TargetImages

LEAST = 1e-10
"""Number that is added inside the logarithms."""


def inverse_weights(prior: Tensor, floor: float) -> Tensor:
    """Weights of the classes, (C,): inverse shares that add up to 1.

    Args:
        prior: Class shares that are expected, (C,).
        floor: Least share that counts; without it a class that is never expected takes all weight.
    """
    inverse = 1 / prior.clamp(min=floor)
    return inverse / inverse.sum()


def weighted_entropy(shares: Tensor, weights: Tensor) -> Tensor:
    """Mean over all pixels of -sum_c v_c p_c ln p_c, a scalar.

    Args:
        shares: Softmax p of the student's logits, (N, C, H, W).
        weights: Weights v of the classes, (C,).
    """
    terms = weights.view(1, -1, 1, 1) * shares * (shares + LEAST).log()
    return -terms.sum() / shares.sum()


def share_divergence(shares: Tensor, prior: Tensor, over: Literal["image", "batch"]) -> Tensor:
    """KL(s || prior) of the mean shares s of each image, averaged, or of the batch; a scalar.

    Args:
        shares: Softmax of the student's logits, (N, C, H, W).
        prior: Class shares that are expected, (C,).
        over: Pixels over which the shares are averaged.
    """
    means = shares.mean((2, 3))
    rows = means if over == "image" else means.mean(0, keepdim=True)
    return divergence(rows, prior, LEAST).mean()


class Srda(Objective):
    """Weighted entropy and class shares near to a prior.

    Args:
        given: Student, start and helpers.
        weight: Weight lambda of the divergence.
        shares: Pixels whose mean shares are compared with the prior.
        class_weights: Weights of the classes in the entropy: inverse shares, or equal ones.
        floor: Least share that counts in an inverse.
    """

    def __init__(
        self,
        given: Given,
        *,
        weight: float,
        shares: Literal["image", "batch"],
        class_weights: Literal["inverse", "equal"],
        floor: float,
    ) -> None:
        super().__init__(given)
        self.weight = weight
        self.over: Literal["image", "batch"] = shares
        self.class_weights = class_weights
        self.floor = floor
        self.expected = SharesOfStart(given)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of the whole batch."""
        shares = self.given.predict(self.given.augment(batch.images)).softmax(1)
        prior = self.expected.values
        weights = (
            inverse_weights(prior, self.floor)
            if self.class_weights == "inverse"
            else uniform_shares(prior)
        )
        yield (
            weighted_entropy(shares, weights)
            + self.weight * share_divergence(shares, prior, self.over)
        )

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Measures the prior."""
        self.expected.measure(images)

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Class shares of images (N, 3, H, W), of which the prior is made."""
        return self.expected.over(images, self.given.forward_mode.predict(self.given.start))

    def state_dict(self) -> dict[str, Any]:
        """The prior."""
        return {"prior": self.expected.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.expected.load(state["prior"])
