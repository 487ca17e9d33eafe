"""Builds the adaptation of an objective beside STvM: the same face as `builder.Adaptation`."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stvm.method.mean_teacher import Labeller, no_update
from stvm.method.mixed_statistics import batch_norms
from stvm.method.optimizer_step import descend
from stvm.networks import SegmentationNetwork
from stvm.objectives.objective import Given, Objective, TargetBatch
from stvm.settings import PEERS, Peer, Settings, fields_of
from stvm.training.builder import (
    Adaptation,
    build_augmentation,
    build_labeller,
    build_student,
    build_teacher,
)
from stvm.training.device import forward_mode_of
from stvm.training.optim import make_optimizer


@dataclass(frozen=True)
class PeerReport:
    """Measurements of one iteration.

    Attributes:
        loss: Loss of the student.
        measured: Other values by name, as the objective measures them.
    """

    loss: Tensor
    measured: dict[str, Tensor | float] = field(default_factory=dict)


@dataclass
class PeerAdaptation:
    """An objective with its networks and optimiser.

    Attributes:
        objective: The loss.
        student: Trained network.
        teacher: Its moving average; without `mt` the student itself.
        labelling: Network that makes the labels; the student if no network does.
        update_teacher: Update of the teacher, called with the number of the iteration; none if the
            objective moves it.
        optimizers: The student's optimiser alone, to be scheduled.
        rounds: Number of rounds of the training.
    """

    objective: Objective
    student: SegmentationNetwork
    teacher: SegmentationNetwork
    labelling: SegmentationNetwork
    update_teacher: Callable[[int], None]
    optimizers: list[torch.optim.Optimizer]
    rounds: int = 1
    metric: None = None

    def step(self, batch: TargetBatch, iteration: int) -> PeerReport:
        """Adapts the student on one batch; iterations are counted from 1."""
        loss = descend(self.optimizers[0], self.objective.losses(batch, iteration))
        self.update_teacher(iteration)
        self.objective.after_step(iteration)
        return PeerReport(loss, dict(self.objective.measured()))

    def reported(self, evaluated: Literal["student", "teacher"]) -> SegmentationNetwork:
        """The network that the setting names; without MT the teacher is the student."""
        return self.teacher if evaluated == "teacher" else self.student

    def networks(self) -> list[nn.Module]:
        """Networks that are trained or follow."""
        return [self.student, self.teacher, *self.objective.networks().values()]

    def state_dict(self) -> dict[str, Any]:
        """State of everything that a step or an offline pass changes."""
        own = self.objective.networks()
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is self.student else self.teacher.state_dict(),
            "objective": self.objective.state_dict(),
            "networks": {name: network.state_dict() for name, network in own.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, in an adaptation built from the same settings."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not self.student:
            self.teacher.load_state_dict(state["teacher"])
        self.objective.load_state_dict(state["objective"])
        for name, network in self.objective.networks().items():
            network.load_state_dict(state["networks"][name])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)


Adapted = Adaptation | PeerAdaptation
"""The networks of STvM or of another objective, under one face."""


def build_peer(settings: Settings, start: SegmentationNetwork, num_classes: int) -> PeerAdaptation:
    """Student, teacher and objective from the network at which the adaptation starts.

    Random weights of an objective come from torch's global generator.

    Args:
        settings: Settings whose `procedure` is an objective.
        start: Read only.
        num_classes: Number of classes, C.
    """
    method, training = settings.method, settings.training
    forward_mode = forward_mode_of(settings.compute)
    peer = PEERS[method.procedure]
    student = forward_mode.prepare(build_student(start, method.student_bn))
    train_only(student, peer.trains)
    teacher = build_teacher(method, start)
    if teacher:
        forward_mode.prepare(teacher.network)
    given = Given(
        student=student,
        predict=forward_mode.predict(student),
        start=start,
        label=build_labeller(settings, start, student, teacher)
        if peer.labels
        else Labeller(student, forward_mode=forward_mode),
        num_classes=num_classes,
        seed=training.seed,
        parts=training.accumulate,
        head_lr=training.lr * training.head_lr_factor,
        augment=build_augmentation(method),
        forward_mode=forward_mode,
    )
    objective = objective_class(peer)(given, **own_values(settings))
    optimizer = make_optimizer(student, training, objective.weight_decay)
    for group in objective.parameters():
        optimizer.add_param_group(group)
    return PeerAdaptation(
        objective,
        student,
        teacher.network if teacher else student,
        given.label.network,
        partial(teacher.update, student) if teacher and not objective.moves_teacher else no_update,
        [optimizer],
        type(objective).rounds_of(own_values(settings)),
    )


def objective_class(peer: Peer) -> type[Objective]:
    """The class that a row names."""
    module, name = peer.objective.split(":")
    found: type[Objective] = getattr(importlib.import_module(f"stvm.objectives.{module}"), name)
    return found


def own_values(settings: Settings) -> dict[str, Any]:
    """The settings of a trial's objective, without its name in front."""
    name = settings.method.procedure
    own = settings.objective.model_dump(include=set(fields_of(name)))
    return {key.removeprefix(f"{name}_"): value for key, value in own.items()}


def train_only(
    student: SegmentationNetwork, part: Literal["all", "batch_norm", "all_but_classifier"]
) -> None:
    """Takes the gradient from the parameters that an objective does not train, in place."""
    if part == "all_but_classifier":
        student.classifier.requires_grad_(False).eval()
    elif part == "batch_norm":
        student.requires_grad_(False)
        for norm in batch_norms(student):
            norm.requires_grad_(True)
