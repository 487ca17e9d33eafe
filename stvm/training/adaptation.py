"""The adaptation of one source model to unlabelled target images; it knows no study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from stvm.data.crops import TargetCrops
from stvm.data.images import Images
from stvm.evaluation.collapse import CollapseMonitor
from stvm.evaluation.label_free import WATCHED_IMAGES, load_even_subset
from stvm.method.step import StepReport
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.training.activity import Tally, describe_activity, effective_rate
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.divergence import DivergenceMonitor
from stvm.training.loop import Progress, run_training
from stvm.training.optim import PolynomialDecay
from stvm.training.resume import TrainingCheckpoint
from stvm.training.seeding import random_states, seed_everything

Curve = list[dict[str, float]]
"""Of numbers alone, so that whatever reads a record can draw it."""
CURVE_POINTS = 40


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
        self.device = device = next(source.parameters()).device
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

    def before_first_step(self) -> None:
        """Measures the predicted classes of the source model, the first point of the log."""
        self.measure(0)

    def take_batch(self, crops: torch.Tensor, iteration: int) -> Mapping[str, Any] | None:
        """Adapts on uint8 crops (N, 3, H, W) as they were loaded; returns as `step`."""
        return self.step(crops.to(self.device, non_blocking=True).float() / 255, iteration)

    def networks(self) -> list[torch.nn.Module]:
        """Networks that are trained or follow."""
        return self.adaptation.networks()

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
    recipe = settings.training
    size = (recipe.crop_height, recipe.crop_width)
    crops = TargetCrops(images, size, recipe.seed, recipe.iterations * recipe.batch)
    make = partial(Training, settings, source, images, num_classes)
    training = run_training(make, crops, recipe.batch, recipe.workers, progress, checkpoint)
    training.log.parts = describe_activity(settings, training.tally)
    return training.adaptation, training.log


def _point(iteration: int, report: StepReport, rate: torch.Tensor | float) -> dict[str, float]:
    values = {name: float(value) for name, value in vars(report).items() if name != "banked"}
    return {"iteration": iteration} | values | {"banked": sum(report.banked), "rate": float(rate)}
