"""Measurements of an iteration under one face, of STvM and of the objectives beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from stvm.method.step import StepReport
from stvm.settings import Settings
from stvm.training.part_activity import MEASURED, effective_rate
from stvm.training.peer_builder import PeerReport

COUNTED = ("teacher_moves",)
"""Values that the curve has summed up to its point."""


@dataclass(frozen=True)
class StepValues:
    """Measurements of an iteration; tensors are scalars on the device.

    Attributes:
        loss: Sum of all losses, which has to be finite.
        curve: Values for the curve by name, without the learning rate.
        averaged: Values whose means over the training are recorded.
        rate: Effective learning rate.
        banked: Number of banked patches of each class; empty without a bank.
    """

    loss: Tensor
    curve: Mapping[str, Tensor | float]
    averaged: Mapping[str, Tensor | float]
    rate: Tensor | float
    banked: tuple[int, ...] = ()

    def point(self, iteration: int, sums: Mapping[str, Tensor | float]) -> dict[str, float]:
        """A point of the curve; a GPU has to be waited for.

        Args:
            iteration: Number of the iteration.
            sums: Sums of the averaged values over the training so far, by name.
        """
        counted = {name: sums[name] for name in COUNTED if name in sums}
        curve = {n: value for n, value in self.curve.items() if n not in COUNTED} | counted
        values = {name: float(value) for name, value in curve.items()}
        return {"iteration": iteration} | values | {"rate": float(self.rate)}


def step_values(report: StepReport | PeerReport, settings: Settings, lr: float) -> StepValues:
    """The measurements of a step.

    Args:
        report: Report of the step.
        settings: Settings of the trial.
        lr: Learning rate of the feature extractor.
    """
    if isinstance(report, PeerReport):
        return StepValues(report.loss, {"loss": report.loss} | report.measured, report.measured, lr)
    return StepValues(
        loss=report.loss + report.metric_loss,
        curve=vars(report) | {"banked": sum(report.banked)},
        averaged={name: getattr(report, name) for name in MEASURED},
        rate=effective_rate(settings, lr, report.weight),
        banked=report.banked,
    )
