"""The adaptation of one source model to unlabelled target images; it knows no study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch

from stvm.data.crops import TargetCrops, batches
from stvm.data.images import Images
from stvm.evaluation.collapse import CollapseMonitor
from stvm.evaluation.label_free import WATCHED_IMAGES, load_even_subset
from stvm.method.step import StepReport
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.training.activity import Tally, describe_activity, effective_rate
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.divergence import DivergenceMonitor
from stvm.training.optim import PolynomialDecay
from stvm.training.resume import TrainingCheckpoint, start_or_resume
from stvm.training.seeding import random_states, restore_random_states, seed_everything

Curve = list[dict[str, float]]
"""Of numbers alone, so that whatever reads a record can draw it."""
CURVE_POINTS = 40


class Progress(Protocol):
    """Called with iterations done and all, and now and then with what the watch saw."""

    def __call__(
        self, done: int, total: int, watch: Mapping[str, Any] | None = None, /
    ) -> None: ...


@dataclass
class TrainingLog:
    """What is written down of a training as it goes.

    Attributes:
        curve: what a step reports, and the effective learning rate.
        banked: patches of each class banked up to each point of the curve.
        watch: predicted classes on fixed unlabelled images; the first point is the source model.
        parts: what each part did over the whole training, once it has ended.
    """

    curve: Curve = field(default_factory=list)
    banked: list[list[int]] = field(default_factory=list)
    watch: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)


class Training:
    """Everything that changes while a trial trains, as one state that can be kept.

    Args:
        settings: with st on.
        source: the source model, on the device to train on; it is left as it is.
        images: unlabelled target images.
        num_classes: C.
    """

    def __init__(
        self, settings: Settings, source: SegmentationNetwork, images: Images, num_classes: int
    ) -> None:
        training = settings.training
        device = next(source.parameters()).device
        seed_everything(training.seed)
        self.adaptation = build_adaptation(settings, source, num_classes)
        self.decay = PolynomialDecay(
            self.adaptation.optimizers, training.iterations, training.poly_power
        )
        self.finite = DivergenceMonitor(training.seed, device, "lr or metric_lr")
        self.log = TrainingLog()
        self.tally = Tally()
        self.settings = settings
        self.watch = CollapseMonitor(
            self.adaptation.reported(training.evaluated),
            load_even_subset(images, WATCHED_IMAGES, device),
        )
        self.every = max(1, training.iterations // CURVE_POINTS)

    def step(self, pixels: torch.Tensor, iteration: int) -> Mapping[str, Any] | None:
        """Adapt on a batch (N, 3, H, W) in [0, 1]; what the watch saw, if it looked.

        Raises:
            DivergenceError: a loss of student or metric network that is not finite.
        """
        lr = self.adaptation.optimizers[0].param_groups[0]["lr"]
        report = self.adaptation.step(pixels, iteration)
        rate = effective_rate(self.settings, lr, report.weight)
        self.tally.see(report, rate)
        self.decay.step()
        self.finite.check_loss(iteration, report.loss + report.metric_loss)
        if iteration % self.every:
            return None
        self.log.curve.append(_point(iteration, report, rate))
        self.log.banked.append(list(report.banked))
        return self.measure(iteration)

    def measure(self, iteration: int) -> Mapping[str, Any]:
        """Let the watch look, and write it down."""
        seen = self.watch.measure(iteration)
        self.log.watch.append(seen)
        return seen

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """All of it after an iteration."""
        return {
            "iteration": iteration,
            "adaptation": self.adaptation.state_dict(),
            "decay": self.decay.state_dict(),
            "finite": self.finite.state_dict(),
            "course": asdict(self.log),
            "tally": {"steps": self.tally.steps, "sums": dict(self.tally.sums)},
            "random": random_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, but for the random states."""
        self.adaptation.load_state_dict(state["adaptation"])
        self.decay.load_state_dict(state["decay"])
        self.finite.load_state_dict(state["finite"])
        self.log = TrainingLog(**state["course"])
        self.tally = Tally(**state["tally"])


def adapt(
    settings: Settings,
    source: SegmentationNetwork,
    images: Images,
    num_classes: int,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> tuple[Adaptation, TrainingLog]:
    """Train the student to the last iteration.

    Args:
        settings: with st on.
        source: the source model, on the device to train on; it is left as it is.
        images: unlabelled target images.
        num_classes: C.
        progress: told how far it is.
        checkpoint: keeps the state now and then; the training goes on from the one it has.

    Returns:
        The networks after the last iteration, and the course of the training.

    Raises:
        DivergenceError: a loss of student or metric network that is not finite.
        StvmError: a state that cannot be written.
    """
    settings_, device = settings.training, next(source.parameters()).device
    training, state = start_or_resume(
        partial(Training, settings, source, images, num_classes), checkpoint
    )
    done = int(state["iteration"]) if state else 0
    size = (settings_.crop_height, settings_.crop_width)
    crops = TargetCrops(images, size, settings_.seed, settings_.iterations * settings_.batch)
    pinned = device.type == "cuda"
    loaded = batches(crops, settings_.batch, settings_.workers, done, pinned=pinned)
    # The loader has drawn from torch's generator by now: its state comes after it.
    if state:
        restore_random_states(state["random"])
    else:
        training.measure(0)
    for iteration, pixels in enumerate(loaded, start=done + 1):
        batch = pixels.to(device, non_blocking=True).float() / 255
        seen = training.step(batch, iteration)
        if checkpoint and checkpoint.due():
            checkpoint.save(training.state_dict(iteration), device)
        if progress:
            progress(iteration, settings_.iterations, seen)
    training.finite.check_weights(settings_.iterations, *training.adaptation.networks())
    training.log.parts = describe_activity(settings, training.tally)
    return training.adaptation, training.log


def _point(iteration: int, report: StepReport, rate: torch.Tensor | float) -> dict[str, float]:
    values = {name: float(value) for name, value in vars(report).items() if name != "banked"}
    return {"iteration": iteration} | values | {"banked": sum(report.banked), "rate": float(rate)}
