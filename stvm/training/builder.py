"""Builds the adaptation of one trial: the only place that looks at the toggles."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stvm.method.losses import reliability
from stvm.method.mean_teacher import (
    Labeller,
    MeanTeacher,
    Update,
    batch_norms,
    frozen_copy,
    no_update,
)
from stvm.method.metric import MetricLearner, MetricOutput
from stvm.method.patches import NoPatches, PatchBank
from stvm.method.photometric import PhotometricAugmentation, no_augmentation
from stvm.method.step import AdaptationStep, Bank
from stvm.method.thresholds import ClassThresholds, most_confident
from stvm.networks import SegmentationNetwork
from stvm.settings import MethodSettings, Settings
from stvm.training.device import forward_mode_of
from stvm.training.optim import sgd


@dataclass
class Adaptation:
    """The step of a trial and what the trainer schedules, evaluates and saves.

    Attributes:
        step: one iteration.
        student: the trained network.
        teacher: its moving average; without MT the student itself.
        metric: metric network and proxies; none where neither MGS nor MOCM needs them.
        optimizers: to be scheduled.
    """

    step: AdaptationStep
    student: SegmentationNetwork
    teacher: SegmentationNetwork
    metric: MetricLearner | None
    optimizers: list[torch.optim.Optimizer]

    def reported(self, evaluated: Literal["student", "teacher"]) -> SegmentationNetwork:
        """The network that the setting names; without MT the teacher is the student."""
        return self.teacher if evaluated == "teacher" else self.student

    def networks(self) -> list[nn.Module]:
        """All that are trained or follow."""
        return [self.student, self.teacher] + ([self.metric.network] if self.metric else [])

    def state_dict(self) -> dict[str, Any]:
        """All that changes in a step; a frozen source model that labels does not."""
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is self.student else self.teacher.state_dict(),
            "metric": self.metric.state_dict() if self.metric else None,
            "bank": self.step.bank.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, in an adaptation built from the same settings."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not self.student:
            self.teacher.load_state_dict(state["teacher"])
        if self.metric:
            self.metric.load_state_dict(state["metric"])
        self.step.bank.load_state_dict(state["bank"], device_of(self.student))
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)


def build_adaptation(
    settings: Settings, source: SegmentationNetwork, num_classes: int
) -> Adaptation:
    """Student, teacher and metric network from the source model, wired by the toggles.

    Section III-B: student and teacher start from the source model. Random weights (metric
    network, proxies) come from torch's global generator; draws from a CPU generator of the seed.

    Args:
        settings: with st on.
        source: read only.
        num_classes: C.
    """
    method, training = settings.method, settings.training
    forward_mode = forward_mode_of(settings.compute)
    student = forward_mode.prepare(build_student(source, method.student_bn))
    teacher = forward_mode.prepare(frozen_copy(source))
    optimizer = sgd(student, training)
    metric = None
    learn_metric: Callable[[Tensor, Tensor, Tensor, Tensor], MetricOutput] = no_metric
    if method.mgs or method.mocm:
        metric = build_metric(settings, source, num_classes)
        learn_metric = metric.train_step
    elif method.metric_alongside:
        with isolated_rng(device_of(student)):
            metric = build_metric(settings, source, num_classes)
        learn_metric = partial(train_unused_metric, metric)
    step = AdaptationStep(
        student=forward_mode.predict(student),
        label=build_labeller(settings, source, student, teacher),
        learn_metric=learn_metric,
        to_reliability=build_reliability(method),
        select=build_selection(method, num_classes),
        augment=build_augmentation(method),
        bank=build_bank(settings, num_classes),
        bank_augmented=method.patch_image == "augmented",
        optimizer=optimizer,
        update_teacher=build_update(method, student, teacher),
        loss_norm=method.loss_norm,
        parts=training.accumulate,
    )
    optimizers = [optimizer] + ([metric.optimizer] if metric else [])
    return Adaptation(step, student, teacher if method.mt else student, metric, optimizers)


def build_labeller(
    settings: Settings,
    source: SegmentationNetwork,
    student: SegmentationNetwork,
    teacher: SegmentationNetwork,
) -> Labeller:
    """The teacher labels; without MT the frozen source model or the student does."""
    method, forward_mode = settings.method, forward_mode_of(settings.compute)
    if method.mt:
        return Labeller(teacher, method.labeller_bn, method.teacher_bn == "track", forward_mode)
    chosen = student if method.labeller == "student" else forward_mode.prepare(frozen_copy(source))
    return Labeller(chosen, method.labeller_bn, False, forward_mode)


def build_update(
    method: MethodSettings, student: SegmentationNetwork, teacher: SegmentationNetwork
) -> Update:
    """The moving average, or the identity."""
    if not method.mt:
        return no_update
    return MeanTeacher(
        teacher, student, method.ema_momentum, method.ema_period, method.teacher_bn
    ).update


def isolated_rng(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn in the block leaves torch's generators where they were."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def train_unused_metric(
    metric: MetricLearner,
    features: Tensor,
    pseudo_labels: Tensor,
    confidence: Tensor,
    doubt: Tensor,
) -> MetricOutput:
    """Train a metric network that nothing uses, so that the trial goes as it would without it."""
    with isolated_rng(features.device):
        return metric.train_step(features, pseudo_labels, confidence, doubt)


def build_student(
    source: SegmentationNetwork, bn: Literal["train", "statistics", "frozen"]
) -> SegmentationNetwork:
    """A trainable copy of the source model.

    Args:
        source: read only.
        bn: "train" trains the batch norms too; "statistics" fixes their weights, and their running
            statistics follow; "frozen" leaves them as the source's, in eval mode.
    """
    student = frozen_copy(source).requires_grad_(True).train()
    for norm in batch_norms(student) if bn != "train" else []:
        norm.train(bn == "statistics").requires_grad_(False)
    return student


def build_metric(
    settings: Settings, source: SegmentationNetwork, num_classes: int
) -> MetricLearner:
    """Metric network with the classifier's architecture, random proxies, Adam (section III-C)."""
    method, device, forward_mode = (
        settings.method,
        device_of(source),
        forward_mode_of(settings.compute),
    )
    head = forward_mode.prepare(source.new_head(method.n_f).to(device))
    proxies = nn.Parameter(torch.randn(num_classes, method.n_f).to(device))
    return MetricLearner(
        head,
        proxies,
        torch.optim.Adam([*head.parameters(), proxies], lr=settings.training.metric_lr, fused=True),
        ClassThresholds(num_classes, method.q_m, method.threshold_momentum, device),
        method.temperature,
        method.pixels_per_class,
        method.metric_balance,
        torch.Generator().manual_seed(settings.training.seed),
        forward_mode,
        method.metric_floor,
    )


def build_reliability(method: MethodSettings) -> Callable[[Tensor], Tensor]:
    """Distances to reliability; without MGS to a constant."""
    if method.mgs:
        return partial(reliability, alpha=method.alpha, beta=method.beta)
    return partial(torch.full_like, fill_value=method.constant_weight)


def build_selection(
    method: MethodSettings, num_classes: int
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Which pseudo-labels are trained on: all, or a most confident share."""
    share, by = method.pseudo_label_share, method.pseudo_label_by
    if share == 1.0:
        return lambda confidence, labels, doubt: torch.ones_like(confidence)
    return lambda confidence, labels, doubt: most_confident(
        confidence, labels, num_classes, share, by, doubt
    )


def build_augmentation(method: MethodSettings) -> Callable[[Tensor], Tensor]:
    """Photometric noise, or the identity."""
    if not method.aug:
        return no_augmentation
    return PhotometricAugmentation(
        method.aug_strength, method.aug_probability, method.blur_probability
    )


def build_bank(settings: Settings, num_classes: int) -> Bank:
    """Patch buffers, or the identity."""
    method = settings.method
    if not method.mocm:
        return NoPatches()
    return PatchBank(
        num_classes,
        method.buffer_size,
        method.tau_mocm,
        method.n_mocm,
        method.patch_unit,
        method.patch_order,
        method.patch_max_cover,
        torch.Generator().manual_seed(settings.training.seed + 1),
        on_cpu=settings.compute.patches_on == "cpu",
    )


def no_metric(
    features: Tensor, pseudo_labels: Tensor, confidence: Tensor, doubt: Tensor
) -> MetricOutput:
    """What stands where neither MGS nor MOCM is on: every distance 0, nothing trained."""
    zero = confidence.new_zeros(())
    return MetricOutput(torch.zeros_like(confidence), zero, zero, zero)


def device_of(module: nn.Module) -> torch.device:
    """Device of the first parameter."""
    return next(module.parameters()).device
