"""MaxSquares: maximum squares of the predictions, plain or weighted by the image (IW).

Loss: -1/2 of the mean of p^2 over pixels and classes. IW: -(1 / (B C)) times the sum over pixels of
w_n sum_c p_nc^2, with w_n = 1 / max(1, n_k^ratio M^(1 - ratio)). Here B is the number of images, k
the predicted class of pixel n, n_k the number of pixels of the image with that class, and M the
number of pixels of the image; w takes no gradient.
Source: Chen et al. 2019; utils/loss.py of its release.
Published: weight 0.1 beside the source loss, ratio 0.2, SGD at 2.5e-4. Without a source loss the
weight only scales the learning rate, so it is 1 here.
Trained: all, with the weights of batch norm (`student_bn=train`); running statistics follow. The
release fixes the weights of the first batch norm only (the stem's); here they are trained too.
Labels: none.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from stvm.objectives.objective import Given, Objective, TargetBatch, in_parts


def mean_squares(logits: Tensor) -> Tensor:
    """-1/2 of the mean of the squared probabilities, from -1 / (2 C) to -1 / (2 C^2).

    Args:
        logits: Scores, (N, C, H, W).
    """
    return -logits.softmax(1).square().mean() / 2


def weighted_squares(logits: Tensor, ratio: float) -> Tensor:
    """The weighted sum of the squared probabilities; each image counts alike.

    Args:
        logits: Scores, (N, C, H, W).
        ratio: Exponent of the class's number of pixels.
    """
    shares = logits.softmax(1)
    weights = class_weights(shares.detach().argmax(1), logits.shape[1], ratio)
    return -(weights * shares.square().sum(1)).sum() / (logits.shape[0] * logits.shape[1])


def class_weights(classes: Tensor, num_classes: int, ratio: float) -> Tensor:
    """Weight of each pixel (N, H, W), lower for classes that are frequent in its image.

    Args:
        classes: Predicted classes, (N, H, W).
        num_classes: Number of classes, C.
        ratio: Exponent of the class's number of pixels.
    """
    # A sum of ones repeats to the bit on a GPU, which its histograms do not.
    counts = torch.stack([(classes == c).flatten(1).sum(1) for c in range(num_classes)], 1).double()
    pixels = classes[0].numel()
    weights: Tensor = 1 / (counts**ratio * pixels ** (1 - ratio)).clamp(min=1)
    return weights.gather(1, classes.flatten(1)).view(classes.shape).float()


class MaxSquares(Objective):
    """Maximum squares.

    Args:
        given: Networks and passes to work with.
        weight: "none" weighs all pixels alike, "image" is IW.
        ratio: Exponent of IW.
    """

    def __init__(self, given: Given, *, weight: Literal["none", "image"], ratio: float) -> None:
        super().__init__(given)
        self.loss = mean_squares if weight == "none" else partial(weighted_squares, ratio=ratio)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        return in_parts(self.given, self.given.augment(batch.images), self.loss)
