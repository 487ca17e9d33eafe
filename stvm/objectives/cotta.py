"""CoTTA (Wang et al. 2022): labels averaged over views, and weights that go back at random.

Loss: mean over all pixels of the cross-entropy to hard labels. The anchor is a frozen copy of the
start. Where its confidence is above a threshold, the label is the class that the teacher predicts
for the image as it is. Elsewhere it is the most probable class of the teacher's mean over all
views. After each step the teacher moves. Then each element of the student's weights and biases
goes back to its value in the anchor with a small probability.
Source: the segmentation code of CoTTA, as github.com/Anonymous-012/SVDP contains it (`mmseg/apis/
test.py`, `single_gpu_cotta`).
Published: threshold 0.69, seven scales from 0.5 to 2 with their mirror images, probability 0.01,
Adam at 7.5e-6 with batch 1, classifier at the same rate. The teacher keeps 0.999 of its weights in
each step: that is ema_momentum=0.001, the setting's default; a preset may set another value.
Trained: all. Student, teacher and anchor are in eval mode, so all of them keep the batch-norm
statistics of the start; the weights of batch norm are trained.
Labels: from the teacher for each batch. The anchor is a third network in memory.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.method.label_views import resized
from stvm.method.mean_teacher import frozen_copy
from stvm.networks import upsample
from stvm.objectives.objective import Given, Objective, TargetBatch, in_labelled_parts

SCALES = (0.5, 0.75, 1.25, 1.5, 1.75, 2.0)
"""Published scales beside the image as it is."""
RESTORED = ("weight", "bias")
"""Own names of the parameters that go back to the anchor's."""


def shares_of_views(
    predict: Callable[[Tensor], Tensor], images: Tensor, scales: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Softmax of the images as they are, and its mean over all views, both (N, C, H, W).

    The views are the images and their mirror images, as they are and at each of the scales.

    Args:
        predict: Network, images (N, 3, h, w) -> logits (N, C, h, w).
        images: Images in [0, 1], (N, 3, H, W).
        scales: Sizes of further views, relative to the images'.
    """
    size = (images.shape[-2], images.shape[-1])

    def shares(view: Tensor) -> Tensor:
        return upsample(predict(view), size).softmax(1)

    plain = shares(images)
    total = plain + shares(images.flip(-1)).flip(-1)
    for scale in scales:
        seen = resized(images, scale)
        total += shares(seen) + shares(seen.flip(-1)).flip(-1)
    return plain, total / (2 + 2 * len(scales))


def labels_of(plain: Tensor, mean: Tensor, sure: Tensor) -> Tensor:
    """Hard labels, (N, H, W): of the plain view where `sure`, else of the mean over views.

    Args:
        plain: Probabilities for the images as they are, (N, C, H, W).
        mean: Mean probabilities over all views, (N, C, H, W).
        sure: Pixels on which the anchor is confident, (N, H, W).
    """
    return torch.where(sure, plain.argmax(1), mean.argmax(1))


@torch.no_grad()
def restore(network: nn.Module, anchor: nn.Module, probability: float) -> None:
    """Set elements of weights and biases back to the anchor's values, each at random, in place.

    Parameters that are not trained, or that have another name than weight or bias, stay. The
    draws come from torch's global generator of the network's device.

    Args:
        network: Student.
        anchor: Network of the same shape, on the same device.
        probability: Chance of an element; with 0 nothing is drawn.
    """
    if probability == 0:
        return
    kept = dict(anchor.named_parameters())
    for name, value in network.named_parameters():
        if value.requires_grad and name.rpartition(".")[2] in RESTORED:
            drawn = torch.rand_like(value) < probability
            value.copy_(torch.where(drawn, kept[name], value))


class Cotta(Objective):
    """Hard labels of a slow teacher over views, with restored weights.

    Args:
        given: Student, start and helpers; the labelling network is the teacher.
        threshold: Share of the anchor above which the plain view labels.
        restore: Chance of an element of the student to go back, in each step.
        views: Views of the teacher: the image and its mirror image, or also six other scales.
    """

    def __init__(
        self,
        given: Given,
        *,
        threshold: float,
        restore: float,
        views: Literal["mirrored", "scales"],
    ) -> None:
        super().__init__(given)
        self.threshold = threshold
        self.probability = restore
        self.scales = SCALES if views == "scales" else ()
        self.anchor = given.forward_mode.prepare(frozen_copy(given.start))
        given.student.eval()
        self._of_anchor = given.forward_mode.predict(self.anchor)
        self._of_teacher = given.forward_mode.predict(given.label.network)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """Cross-entropy to the labels, one part of the batch after another."""
        labels = self.label(batch.images)
        for images, classes in in_labelled_parts(self.given, batch.images, labels):
            loss = F.cross_entropy(self.given.predict(images), classes, reduction="none").mean()
            yield loss * (len(images) / len(batch.images))

    @torch.no_grad()
    def label(self, images: Tensor) -> Tensor:
        """Labels (N, H, W) of clean images (N, 3, H, W)."""
        sure = self._of_anchor(images).softmax(1).amax(1) > self.threshold
        return labels_of(*shares_of_views(self._of_teacher, images, self.scales), sure)

    def after_step(self, iteration: int) -> None:
        """Restores elements of the student; the teacher has moved by now."""
        restore(self.given.student, self.anchor, self.probability)

    def networks(self) -> dict[str, nn.Module]:
        """The anchor."""
        return {"anchor": self.anchor}
