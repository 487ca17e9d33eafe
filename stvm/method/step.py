"""One iteration of STvM, in the order of the paper's Fig. 2 and section III-A."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from stvm.method.checked_input import check_images
from stvm.method.losses import Norm, losses_of_parts
from stvm.method.mean_teacher import Labeller
from stvm.method.metric_network import MetricOutput
from stvm.method.optimizer_step import descend
from stvm.method.photometric import PhotometricAugmentation
from stvm.method.reliability import reliability


class Bank(Protocol):
    """Stores and pastes reliable patches: `PatchBank`, or `NoPatches` if MOCM is off."""

    @property
    def banked(self) -> Sequence[int]: ...

    @property
    def pasted(self) -> Tensor | float: ...

    def store(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor, distances: Tensor
    ) -> None: ...

    def paste(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def get_extra_state(self) -> dict[str, Any]: ...

    def set_extra_state(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class StepReport:
    """Measurements of one iteration; the tensors are scalars on the device of the networks.

    Attributes:
        loss: Loss of the student (eq. 5).
        metric_loss: Loss of the metric network (eq. 2).
        reliability: Mean reliability of the pixels before mixing.
        selected: Share of pixels that are metric pseudo-labels.
        metric_pixels: Number of pixels that each class gave to the metric network.
        distance: Mean distance of the pixels (eq. 3).
        weight: Mean weight of the pixels after mixing; eq. 5 lowers the learning rate by it.
        pasted: Share of pixels that patches cover.
        banked: Number of patches of each class banked so far.
    """

    loss: Tensor
    metric_loss: Tensor
    reliability: Tensor
    selected: Tensor
    metric_pixels: Tensor
    distance: Tensor
    weight: Tensor
    pasted: Tensor | float
    banked: tuple[int, ...]


def select_all(confidence: Tensor, labels: Tensor, doubt: Tensor) -> Tensor:
    """Ones in the shape of `confidence`, (N, H, W): every pseudo-label is trained on."""
    return torch.ones_like(confidence)


@dataclass
class AdaptationStep:
    """One iteration of STvM; every part can be replaced by a function of your own.

    The step holds no state of its own. Save and move its parts: the networks, the mean teacher,
    the metric learner, the bank and the optimiser.

    Attributes:
        student: Trained network, images (N, 3, H, W) in [0, 1] -> logits (N, C, H, W).
        label: Labelling network, `MeanTeacher.labeller()` or a `Labeller`.
        learn_metric: Training of the metric network, `MetricLearner.train_step`.
        bank: Patches for MOCM, a `PatchBank`; `NoPatches()` turns MOCM off.
        optimizer: Optimiser of the student.
        update_teacher: Update of the teacher, called with the number of the iteration.
        to_reliability: Distances (N, H, W) -> reliability (N, H, W), eq. 4.
        select: Confidence, labels and doubt (N, H, W) -> mask (N, H, W), 1 for pseudo-labels that
            are trained on and 0 for the others (Fig. 1); all of them by default.
        augment: Photometric augmentation of the student's input.
        bank_augmented: Whether the augmented pixels are banked, in place of the clean ones.
        loss_norm: Divisor of eq. 5, see `weighted_cross_entropy`.
        parts: Number of equal parts of a batch that pass the student one by one, to save memory.
    """

    student: Callable[[Tensor], Tensor]
    _: KW_ONLY
    label: Labeller
    learn_metric: Callable[[Tensor, Tensor, Tensor, Tensor], MetricOutput]
    bank: Bank
    optimizer: torch.optim.Optimizer
    update_teacher: Callable[[int], None]
    to_reliability: Callable[[Tensor], Tensor] = reliability
    select: Callable[[Tensor, Tensor, Tensor], Tensor] = select_all
    augment: Callable[[Tensor], Tensor] = field(default_factory=PhotometricAugmentation)
    bank_augmented: bool = False
    loss_norm: Norm = "pixels"
    parts: int = 1

    def __call__(self, images: Tensor, iteration: int) -> StepReport:
        """Adapt the student on one batch.

        Args:
            images: Target images in [0, 1], (N, 3, H, W).
            iteration: Number of the iteration, 1, 2, ...

        Returns:
            Losses and other measurements of the iteration.

        Raises:
            StvmError: The images are bytes or no batch.
        """
        check_images("AdaptationStep", images)
        pseudo_labels, confidence, doubt, features = self.label(images)
        metric = self.learn_metric(features, pseudo_labels, confidence, doubt)
        selected = self.select(confidence, pseudo_labels, doubt)
        trust = self.to_reliability(metric.distances) * selected

        noisy = self.augment(images)
        mixed, labels, weights = self.bank.paste(noisy, pseudo_labels, trust)
        banked = noisy if self.bank_augmented else images
        self.bank.store(banked, pseudo_labels, trust, metric.distances)

        mixed_batch = (mixed, labels, weights)
        losses = losses_of_parts(self.student, *mixed_batch, self.loss_norm, self.parts)
        loss = descend(self.optimizer, losses)
        self.update_teacher(iteration)
        return StepReport(
            loss=loss,
            metric_loss=metric.loss,
            reliability=trust.mean(),
            selected=metric.selected,
            metric_pixels=metric.pixels,
            distance=metric.distances.mean(),
            weight=weights.mean(),
            pasted=self.bank.pasted,
            banked=tuple(self.bank.banked),
        )
