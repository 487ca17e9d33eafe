"""Builds the adaptation of one trial: the only place that looks at the toggles."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stvm.method.mean_teacher import Labeller, MeanTeacher, frozen_copy, no_update
from stvm.method.metric_network import MetricLearner, MetricOutput
from stvm.method.mixed_statistics import batch_norms, plain_statistics
from stvm.method.no_patches import NoPatches
from stvm.method.patches import PatchBank
from stvm.method.photometric import PhotometricAugmentation, no_augmentation
from stvm.method.reliability import reliability
from stvm.method.step import AdaptationStep, Bank, select_all
from stvm.method.thresholds import most_confident
from stvm.networks import SegmentationNetwork
from stvm.settings import MethodSettings, Settings
from stvm.training.device import forward_mode_of
from stvm.training.metric_network_state import load_metric_state, metric_state
from stvm.training.optim import make_optimizer


@dataclass
class Adaptation:
    """The step of a trial, with its networks and optimisers.

    Attributes:
        step: iteration of the method.
        student: the trained network.
        teacher: its moving average; without MT the student itself.
        metric: metric network and proxies; None if neither MGS nor MOCM needs them.
        optimizers: optimizers to be scheduled.
    """

    step: AdaptationStep
    student: SegmentationNetwork
    teacher: SegmentationNetwork
    metric: MetricLearner | None
    optimizers: list[torch.optim.Optimizer]

    @property
    def labelling(self) -> SegmentationNetwork:
        """The network that makes the labels."""
        return self.step.label.network

    def reported(self, evaluated: Literal["student", "teacher"]) -> SegmentationNetwork:
        """The network that the setting names; without MT the teacher is the student."""
        return self.teacher if evaluated == "teacher" else self.student

    def networks(self) -> list[nn.Module]:
        """Networks that are trained or follow."""
        return [self.student, self.teacher] + ([self.metric.network] if self.metric else [])

    def state_dict(self) -> dict[str, Any]:
        """State of everything that a step changes; a frozen source model that labels has none."""
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is self.student else self.teacher.state_dict(),
            "metric": metric_state(self.metric) if self.metric else None,
            "bank": self.step.bank.get_extra_state(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, in an adaptation built from the same settings."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not self.student:
            self.teacher.load_state_dict(state["teacher"])
        if self.metric:
            load_metric_state(self.metric, state["metric"])
        self.step.bank.set_extra_state(state["bank"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)


def build_adaptation(
    settings: Settings, source: SegmentationNetwork, num_classes: int
) -> Adaptation:
    """Student, teacher and metric network from the source model, wired by the toggles.

    Section III-B: student and teacher start from the source model, whose batch-norm statistics may
    be those of `starting_network`. Random weights (metric
    network, proxies) come from torch's global generator; draws from a CPU generator of the seed.

    Args:
        settings: Settings with st on.
        source: read only.
        num_classes: C.
    """
    method, training = settings.method, settings.training
    forward_mode = forward_mode_of(settings.compute)
    student = forward_mode.prepare(build_student(source, method.student_bn))
    teacher = build_teacher(method, source)
    if teacher:
        forward_mode.prepare(teacher.network)
    optimizer = make_optimizer(student, training)
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
        bank=build_bank(settings, num_classes, device_of(student)),
        bank_augmented=method.patch_image == "augmented",
        optimizer=optimizer,
        update_teacher=partial(teacher.update, student) if teacher else no_update,
        loss_norm=method.loss_norm,
        parts=training.accumulate,
    )
    optimizers: list[torch.optim.Optimizer] = [optimizer]
    optimizers += [metric.optimizer] if metric else []
    return Adaptation(step, student, teacher.network if teacher else student, metric, optimizers)


def build_labeller(
    settings: Settings,
    source: SegmentationNetwork,
    student: SegmentationNetwork,
    teacher: MeanTeacher[SegmentationNetwork] | None,
) -> Labeller:
    """The teacher labels; without MT the frozen source model or the student does."""
    method, forward_mode = settings.method, forward_mode_of(settings.compute)
    seen: dict[str, Any] = {"views": method.label_views, "scale": method.label_scale}
    if teacher:
        return teacher.labeller(method.labeller_bn, forward_mode=forward_mode, **seen)
    chosen = student if method.labeller == "student" else forward_mode.prepare(frozen_copy(source))
    return Labeller(chosen, method.labeller_bn, False, forward_mode, **seen)


def build_teacher(
    method: MethodSettings, source: SegmentationNetwork
) -> MeanTeacher[SegmentationNetwork] | None:
    """The mean teacher; None without MT."""
    if not method.mt:
        return None
    momentum, period = method.ema_momentum, method.ema_period
    return MeanTeacher(source, momentum=momentum, period=period, bn=method.teacher_bn)


def isolated_rng(device: torch.device) -> AbstractContextManager[None]:
    """A block whose random draws leave torch's generators unchanged."""
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
    source: SegmentationNetwork, bn: Literal["train", "statistics", "frozen", "share"]
) -> SegmentationNetwork:
    """A trainable copy of the source model.

    Args:
        source: read only.
        bn: "train" trains the batch norms too; "statistics" fixes their weights, and their running
            statistics follow; "frozen" leaves them as the source's, in eval mode; "share" is
            "train" with the batch norms that `starting_network` made.
    """
    student = frozen_copy(source).requires_grad_(True).train()
    for norm in batch_norms(student) if bn in ("statistics", "frozen") else []:
        norm.train(bn == "statistics").requires_grad_(False)
    return student


def build_metric(
    settings: Settings, source: SegmentationNetwork, num_classes: int
) -> MetricLearner:
    """Metric network with the classifier's architecture, random proxies, Adam (section III-C)."""
    method, forward_mode = settings.method, forward_mode_of(settings.compute)
    head = source.new_head(method.n_f).to(device_of(source))
    # A head may be a copy of the classifier, whose share of statistics says nothing of new weights.
    plain_statistics(head)
    return MetricLearner(
        forward_mode.prepare(head),
        num_classes=num_classes,
        embedding_size=method.n_f,
        temperature=method.temperature,
        q_m=method.q_m,
        threshold_momentum=method.threshold_momentum,
        pixels_per_class=method.pixels_per_class,
        balance=method.metric_balance,
        floor=method.metric_floor,
        lr=settings.training.metric_lr,
        seed=settings.training.seed,
        forward_mode=forward_mode,
    )


def build_reliability(method: MethodSettings) -> Callable[[Tensor], Tensor]:
    """Distances to reliability; without MGS to a constant."""
    if method.mgs:
        return partial(reliability, alpha=method.alpha, beta=method.beta)
    return partial(torch.full_like, fill_value=method.constant_weight)


def build_selection(
    method: MethodSettings, num_classes: int
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The selection of pseudo-labels for training: all, or the most confident share."""
    share, by = method.pseudo_label_share, method.pseudo_label_by
    if share == 1.0:
        return select_all
    return lambda confidence, labels, doubt: most_confident(
        confidence, labels, num_classes, share, by, doubt
    )


def build_augmentation(method: MethodSettings) -> Callable[[Tensor], Tensor]:
    """Photometric noise, or the identity."""
    if not method.aug:
        return no_augmentation
    return PhotometricAugmentation(
        method.aug_strength,
        probability=method.aug_probability,
        blur_probability=method.blur_probability,
    )


def build_bank(settings: Settings, num_classes: int, device: torch.device) -> Bank:
    """Patch buffers, or the identity; saved patches are loaded to `device`."""
    method = settings.method
    if not method.mocm:
        return NoPatches()
    return PatchBank(
        num_classes,
        buffer_size=method.buffer_size,
        max_distance=method.tau_mocm,
        classes_per_image=method.n_mocm,
        unit=method.patch_unit,
        order=method.patch_order,
        max_cover=method.patch_max_cover,
        seed=settings.training.seed + 1,
        on_cpu=settings.compute.patches_on == "cpu",
    ).to(device)


def no_metric(
    features: Tensor, pseudo_labels: Tensor, confidence: Tensor, doubt: Tensor
) -> MetricOutput:
    """The metric step if MGS and MOCM are off: every distance is 0, and nothing is trained."""
    zero = confidence.new_zeros(())
    return MetricOutput(torch.zeros_like(confidence), zero, zero, zero)


def device_of(module: nn.Module) -> torch.device:
    """Device of the first parameter."""
    return next(module.parameters()).device
