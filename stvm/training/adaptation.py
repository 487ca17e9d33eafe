"""Adapts one source model to unlabelled target images; knows nothing about studies."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stvm.data.batches import full_batches
from stvm.data.crops import TargetCrops
from stvm.data.images import Images
from stvm.evaluation.collapse import CollapseMonitor
from stvm.evaluation.label_free import WATCHED_IMAGES, load_even_subset
from stvm.method.step import StepReport
from stvm.networks import SegmentationNetwork
from stvm.objectives.objective import TargetBatch, WholeImages
from stvm.settings import PEERS, Settings
from stvm.training.builder import build_adaptation
from stvm.training.divergence import DivergenceMonitor
from stvm.training.loop import Progress, Rounds, run_training
from stvm.training.offline_passes import (
    NO_LABELS,
    LabelPlace,
    OfflinePasses,
    label_place,
    plan_rounds,
)
from stvm.training.optim import PolynomialDecay
from stvm.training.part_activity import Tally, describe_activity
from stvm.training.pass_progress import told
from stvm.training.peer_builder import Adapted, PeerAdaptation, PeerReport, build_peer
from stvm.training.resume import TrainingCheckpoint
from stvm.training.seeding import random_states, seed_everything
from stvm.training.starting_network import starting_network
from stvm.training.step_values import step_values

Batch = torch.Tensor | tuple[torch.Tensor, ...]
"""Crops as they were loaded: alone, with labels, or with whole images and places."""
Curve = list[dict[str, float]]
"""Points of numbers by name, which any reader of a record can draw."""
CURVE_POINTS = 40
"""Number of points that a curve has at least, if there are as many iterations."""


@dataclass
class TrainingLog:
    """Record of a training, written as it goes.

    Attributes:
        curve: Values of `StepReport` and the effective learning rate, at up to 79 iterations.
        banked: Number of banked patches of each class, at each point of the curve.
        watch: Predicted classes on fixed unlabelled images; the first point is the start.
        parts: Activity of each part of the method; empty until the training has ended.
    """

    curve: Curve = field(default_factory=list)
    banked: list[list[int]] = field(default_factory=list)
    watch: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)


class Training:
    """Everything that changes during an adaptation, as one state that can be saved.

    Args:
        settings: Settings that adapt a student, by STvM or by another objective.
        source: Source model on the device to train on; it is not changed.
        images: Unlabelled target images.
        num_classes: Number of classes, C.
        labels: Place for the labels of offline passes.
        progress: Progress of the training, which hears of passes over all images.
    """

    def __init__(
        self,
        settings: Settings,
        source: SegmentationNetwork,
        images: Images,
        num_classes: int,
        labels: LabelPlace = NO_LABELS,
        progress: Progress | None = None,
    ) -> None:
        training = settings.training
        self.device = device = next(source.parameters()).device
        seed_everything(training.seed)
        start = starting_network(settings.method, source, images, progress)
        self.adaptation = build(settings, start, num_classes)
        self.passes = OfflinePasses(self.adaptation, images, labels, training.iterations, progress)
        self.decay = PolynomialDecay(
            self.adaptation.optimizers, training.iterations, training.poly_power
        )
        self.finite = DivergenceMonitor(training.seed, device, rates_of(settings))
        self.log = TrainingLog()
        self.tally = Tally()
        self.settings = settings
        self.watch = CollapseMonitor(
            self.adaptation.reported(training.evaluated),
            load_even_subset(images, WATCHED_IMAGES, device),
        )
        self.every = max(1, training.iterations // CURVE_POINTS)

    def before_first_step(self) -> None:
        """Measures the predicted classes at the start, the first point of the log."""
        self.measure(0)

    def begin_round(self, number: int) -> None:
        """Makes the offline pass of a round, counted from 1."""
        self.passes.begin(number)

    def take_batch(self, batch: Batch, iteration: int) -> Mapping[str, Any] | None:
        """Adapts on uint8 crops (N, 3, H, W) as they were loaded; returns as `step`.

        Labels (N, H, W) uint8 may come with them, or their whole images and places.
        """
        crops, *more = [batch] if isinstance(batch, torch.Tensor) else batch
        pixels = crops.to(self.device, non_blocking=True).float() / 255
        first = more[0].to(self.device, non_blocking=True) if more else None
        if first is None or len(more) == 1:
            return self.step(pixels, iteration, first)
        places = tuple((index, top, left) for index, top, left in more[1].tolist())
        return self.step(pixels, iteration, whole=WholeImages(first, places))

    def networks(self) -> list[torch.nn.Module]:
        """Networks that are trained or follow."""
        return self.adaptation.networks()

    def step(
        self,
        pixels: torch.Tensor,
        iteration: int,
        labels: torch.Tensor | None = None,
        whole: WholeImages | None = None,
    ) -> Mapping[str, Any] | None:
        """Adapts on a batch (N, 3, H, W) in [0, 1]; returns the predicted classes if measured.

        Args:
            pixels: Target crops.
            iteration: Number of the iteration, from 1.
            labels: Labels of an offline pass (N, H, W), for an objective that makes one.
            whole: Images of the crops, for an objective that asks for them.

        Raises:
            DivergenceError: A loss of student or metric network that is not finite.
        """
        report: StepReport | PeerReport
        if isinstance(self.adaptation, PeerAdaptation):
            report = self.adaptation.step(TargetBatch(pixels, labels, whole), iteration)
        else:
            report = self.adaptation.step(pixels, iteration)
        lr = self.adaptation.optimizers[0].param_groups[0]["lr"]
        values = step_values(report, self.settings, lr)
        self.tally.see(values.averaged, values.rate)
        self.decay.step()
        self.finite.check_loss(iteration, values.loss)
        if iteration % self.every:
            return None
        self.log.curve.append(values.point(iteration, self.tally.sums))
        self.log.banked.append(list(values.banked))
        return self.measure(iteration)

    def measure(self, iteration: int) -> Mapping[str, Any]:
        """Measures the predicted classes on the fixed images and adds them to the log."""
        seen = self.watch.measure(iteration)
        self.log.watch.append(seen)
        return seen

    def finish(self, images: Iterator[Tensor]) -> None:
        """Lets an objective finish on whole target images, batches (N, 3, H, W) in [0, 1].

        If that changes a network, the last point of the log is measured anew: it decides whether
        the training collapsed.
        """
        peer = self.adaptation
        if isinstance(peer, PeerAdaptation) and peer.objective.finish(images):
            last = self.settings.training.iterations
            self.log.watch = [point for point in self.log.watch if point["iteration"] < last]
            self.measure(last)

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """The whole state after an iteration."""
        return {
            "iteration": iteration,
            "adaptation": self.adaptation.state_dict(),
            "decay": self.decay.state_dict(),
            "finite": self.finite.state_dict(),
            "course": asdict(self.log),
            "tally": {"steps": self.tally.steps, "sums": dict(self.tally.sums)},
            "random": random_states(),
        } | self.passes.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, except the random states."""
        self.adaptation.load_state_dict(state["adaptation"])
        self.decay.load_state_dict(state["decay"])
        self.finite.load_state_dict(state["finite"])
        self.log = TrainingLog(**state["course"])
        self.tally = Tally(**state["tally"])
        self.passes.load_state_dict(state)


def build(settings: Settings, start: SegmentationNetwork, num_classes: int) -> Adapted:
    """The adaptation that `procedure` selects: STvM, or an objective beside it."""
    if settings.method.procedure in PEERS:
        return build_peer(settings, start, num_classes)
    return build_adaptation(settings, start, num_classes)


def rates_of(settings: Settings) -> str:
    """Names of the learning rates of an adaptation, for a message."""
    return "lr" if settings.method.procedure in PEERS else "lr or metric_lr"


def adapt(
    settings: Settings,
    source: SegmentationNetwork,
    images: Images,
    num_classes: int,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> tuple[Adapted, TrainingLog]:
    """Trains the student to the last iteration.

    Args:
        settings: Settings that adapt a student, by STvM or by another objective.
        source: Source model on the device to train on; it is not changed.
        images: Unlabelled target images.
        num_classes: Number of classes, C.
        progress: Function that is told how far the training is.
        checkpoint: Place of the saved state, from which an interrupted training resumes.

    Returns:
        The networks after the last iteration, and the log of the training.

    Raises:
        DivergenceError: A loss of student or metric network that is not finite.
        StvmError: A state that cannot be written, or labels for which the disk has no room.
    """
    recipe = settings.training
    size = (recipe.crop_height, recipe.crop_width)
    crops = TargetCrops(images, size, recipe.seed, recipe.iterations * recipe.batch)
    with label_place(settings, checkpoint) as labels:
        make = partial(Training, settings, source, images, num_classes, labels, progress)
        plan = plan_rounds(settings, crops, labels.folder)
        training = run_training(
            make,
            plan.crops,
            recipe.batch,
            recipe.workers,
            progress,
            checkpoint,
            Rounds(plan.rounds, Training.begin_round),
        )
    batches = full_batches(images, training.device)
    training.finish(told(batches, progress, "last pass", len(images)))
    training.log.parts = describe_activity(settings, training.tally)
    return training.adaptation, training.log
