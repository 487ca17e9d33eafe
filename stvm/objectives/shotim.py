"""SHOT-IM (Liang et al. 2020): confident pixels, and a mean prediction spread over the classes.

Loss: mean_n H(p_n) + KL(m || prior) up to a constant, with m = mean_n p_n over all pixels n of the
batch; logarithms are natural, and 1e-5 is added inside each of them. The published loss has the
uniform prior: mean_n H(p_n) - H(m), where the constant ln C is left out. A batch of street scenes
is far from uniform, so the prior may be the class shares that the start predicts on the target
images.
Source: github.com/tim-learn/SHOT (object/image_target.py), for images with one label each.
Published: SGD, both terms with weight 1, the backbone at a tenth of the new layers' rate.
Trained: all but the classifier, which is frozen and in eval mode. The weights of batch norm of the
feature extractor are trained (`student_bn=train`); running statistics follow.
Labels: none. The loss on labels of class centroids is not part of SHOT-IM; `shot` has it.
"""

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor

from stvm.objectives.class_shares import SharesOfStart, divergence
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, Objective, TargetBatch, TargetImages

LEAST = 1e-5
"""Number that is added inside the logarithms."""


def information_maximisation(logits: Tensor, prior: Tensor | None = None) -> Tensor:
    """The loss of SHOT-IM, a scalar.

    Args:
        logits: Logits of the student, (N, C, H, W).
        prior: Class shares that are expected, (C,); None for the published term -H(m).
    """
    shares = logits.softmax(1)
    entropy = -(shares * (shares + LEAST).log()).sum(1).mean()
    mean = shares.mean((0, 2, 3))
    if prior is None:
        return entropy + (mean * (mean + LEAST).log()).sum()
    return entropy + divergence(mean, prior, LEAST)


class ShotIM(Objective):
    """Information maximisation.

    Args:
        given: Student, start and helpers.
        prior: Expected class shares: equal ones, as published, or those that the starting network
            predicts on the target images.
    """

    def __init__(self, given: Given, *, prior: Literal["uniform", "source"]) -> None:
        super().__init__(given)
        self.expected = SharesOfStart(given) if prior == "source" else None

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of the whole batch, over which the mean prediction goes."""
        logits = self.given.predict(self.given.augment(batch.images))
        prior = self.expected.values if self.expected else None
        yield information_maximisation(logits, prior)

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Measures the expected shares, if they are those of the starting network."""
        if self.expected:
            self.expected.measure(images)

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Class shares of images (N, 3, H, W), if the prior is made of them."""
        if not self.expected:
            return None
        return self.expected.over(images, self.given.forward_mode.predict(self.given.start))

    def state_dict(self) -> dict[str, Any]:
        """The expected shares, if they were measured."""
        return {"prior": self.expected.values} if self.expected else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        if self.expected:
            self.expected.load(state["prior"])
