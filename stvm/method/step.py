"""One iteration of STvM, in the order of the paper's Fig. 2 and section III-A."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from stvm.method.descent import descend
from stvm.method.losses import Norm, losses_of_parts
from stvm.method.mean_teacher import Labeller
from stvm.method.metric import MetricOutput


class Bank(Protocol):
    """Banks reliable patches and pastes them; see `stvm.method.patches`."""

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

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None: ...


@dataclass(frozen=True)
class StepReport:
    """What one iteration measured; tensors are on the device of the networks.

    Attributes:
        loss: of the student, eq. 5.
        metric_loss: of the metric network, eq. 2.
        reliability: mean over the pixels before mixing.
        selected: share of pixels that trained the metric network.
        metric_pixels: that each class gave to it.
        distance: mean over the pixels, eq. 3.
        weight: mean over the pixels after mixing, by which eq. 5 lowers the learning rate.
        pasted: share of pixels that patches cover.
        banked: patches of each class banked so far.
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


@dataclass
class AdaptationStep:
    """Every part resolved by the builder; a part that is off is its identity.

    Attributes:
        student: mixed images (N, 3, H, W) to logits (N, C, H, W) of the trained network.
        label: pseudo-labels, confidence, doubt and features of clean images.
        learn_metric: trains the metric network on them and reads distances.
        to_reliability: distances to reliability, eq. 4.
        select: to confidence, labels and doubt 1 for a pseudo-label trained on, else 0 (Fig. 1).
        augment: photometric noise on the student's input.
        bank: MOCM.
        bank_augmented: bank the student's pixels and not the labeller's.
        optimizer: of the student.
        update_teacher: called with the iteration.
        loss_norm: see `weighted_cross_entropy`.
        parts: of the batch that pass the student one by one.
    """

    student: Callable[[Tensor], Tensor]
    label: Labeller
    learn_metric: Callable[[Tensor, Tensor, Tensor, Tensor], MetricOutput]
    to_reliability: Callable[[Tensor], Tensor]
    select: Callable[[Tensor, Tensor, Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    bank: Bank
    bank_augmented: bool
    optimizer: torch.optim.Optimizer
    update_teacher: Callable[[int], None]
    loss_norm: Norm
    parts: int = 1

    def __call__(self, images: Tensor, iteration: int) -> StepReport:
        """Adapt on target images (N, 3, H, W) in [0, 1] at iteration 1, 2, ..."""
        pseudo_labels, confidence, doubt, features = self.label(images)
        metric = self.learn_metric(features, pseudo_labels, confidence, doubt)
        reliability = self.to_reliability(metric.distances) * self.select(
            confidence, pseudo_labels, doubt
        )

        noisy = self.augment(images)
        mixed, labels, weights = self.bank.paste(noisy, pseudo_labels, reliability)
        banked = noisy if self.bank_augmented else images
        self.bank.store(banked, pseudo_labels, reliability, metric.distances)

        mixed_batch = (mixed, labels, weights)
        losses = losses_of_parts(self.student, *mixed_batch, self.loss_norm, self.parts)
        loss = descend(self.optimizer, losses)
        self.update_teacher(iteration)
        return StepReport(
            loss=loss,
            metric_loss=metric.loss,
            reliability=reliability.mean(),
            selected=metric.selected,
            metric_pixels=metric.pixels,
            distance=metric.distances.mean(),
            weight=weights.mean(),
            pasted=self.bank.pasted,
            banked=tuple(self.bank.banked),
        )
