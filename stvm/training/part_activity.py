"""Activity of the method's parts during a training, and the parts that are on but did nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stvm.settings import PEERS, Settings

LOW_WEIGHT = 0.1
"""Mean weight below which MGS mainly lowers the learning rate."""
MEASURED = ("reliability", "weight", "selected", "metric_pixels", "distance", "pasted")


@dataclass
class Tally:
    """Sums over the iterations; they stay on the device, so that the processor never waits.

    Attributes:
        steps: Number of iterations added.
        sums: Sums of the measured values by name, and of the effective learning rate.
    """

    steps: int = 0
    sums: dict[str, Tensor | float] = field(default_factory=dict)

    def see(self, measured: Mapping[str, Tensor | float], rate: Tensor | float) -> None:
        """Adds an iteration.

        Args:
            measured: Values of its step by name, the same names in each iteration.
            rate: Effective learning rate.
        """
        self.steps += 1
        for name, value in {**measured, "rate": rate}.items():
            if self.steps > 1 and name not in self.sums:
                # The state of an earlier version did not count it from the start.
                continue
            more = value.double() if isinstance(value, Tensor) else value
            # Not in place: a sum from a saved state is on the CPU and has to move to the device.
            self.sums[name] = self.sums.get(name, 0.0) + more

    def means(self) -> dict[str, float]:
        """Means over all iterations, by name."""
        return {name: float(value) / max(self.steps, 1) for name, value in self.sums.items()}


def effective_rate(settings: Settings, rate: float, weight: Tensor) -> Tensor | float:
    """The extractor's learning rate times the mean weight, which `loss_norm=weights` undoes."""
    return rate if settings.method.loss_norm == "weights" else rate * weight


def idle_parts(settings: Settings, means: dict[str, float]) -> list[str]:
    """One phrase for each part of the method that is on but did nothing.

    Args:
        settings: Settings of the trial.
        means: Means over its iterations, by name.
    """
    method, training = settings.method, settings.training
    moves = means.get("teacher_moves", training.iterations // method.ema_period)
    blurs = method.blur_probability > 0
    jitters = method.aug_probability > 0 and method.aug_strength > 0
    found = {
        "Aug changed no image": method.aug and not (blurs or jitters),
        "MT never moved the teacher": method.mt and moves == 0,
        "the metric network was given no pixel": (
            (method.mgs or method.mocm or method.metric_alongside) and means["metric_pixels"] == 0
        ),
        f"MGS left a mean weight below {LOW_WEIGHT:g}, so it is above all a lower rate": (
            method.mgs and method.loss_norm == "pixels" and means["reliability"] < LOW_WEIGHT
        ),
        "no pixel had a label": means.get("kept") == 0,
        "MOCM pasted nothing": method.mocm and means["pasted"] == 0,
        "no region was pasted": method.procedure in PEERS and means.get("pasted") == 0,
    }
    return [what for what, is_so in found.items() if is_so]


def describe_activity(settings: Settings, tally: Tally) -> dict[str, Any]:
    """Entries of a record: means over the iterations to six digits, and parts that did nothing."""
    means = tally.means()
    rounded = {name: float(f"{value:.6g}") for name, value in means.items()}
    return {"parts": rounded, "idle": idle_parts(settings, means)}
