"""Optimiser and learning-rate schedule of every training: SGD or AdamW, and polynomial decay."""

from collections.abc import Sequence
from typing import Any

import torch

from stvm.networks import SegmentationNetwork
from stvm.settings import TrainingSettings


def make_optimizer(
    network: SegmentationNetwork, training: TrainingSettings, weight_decay: float | None = None
) -> torch.optim.Optimizer:
    """The optimiser that the settings name, with two learning rates; fused on a GPU.

    The paper's is SGD with Nesterov momentum (section IV-B). A parameter without gradient is left
    as it is.

    Args:
        network: Network to be trained.
        training: Settings of optimiser and rates.
        weight_decay: Weight decay in place of the settings'.
    """
    decay = training.weight_decay if weight_decay is None else weight_decay
    groups = [
        {"params": list(network.features.parameters()), "lr": training.lr},
        {
            "params": list(network.classifier.parameters()),
            "lr": training.lr * training.head_lr_factor,
        },
    ]
    # On the CPU the fused kernel rounds differently, and recorded trials would not repeat.
    fused = True if next(network.parameters()).device.type == "cuda" else None
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=decay, fused=fused)
    return torch.optim.SGD(
        groups,
        momentum=training.momentum,
        weight_decay=decay,
        nesterov=training.momentum > 0,
        fused=fused,
    )


class PolynomialDecay:
    """Rates x (1 - i / iterations) ** power at iteration i = 0, 1, ... (section IV-B: 0.9)."""

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], iterations: int, power: float
    ) -> None:
        self.schedulers = [
            torch.optim.lr_scheduler.PolynomialLR(optimizer, iterations, power)
            for optimizer in optimizers
        ]

    def step(self) -> None:
        """Lowers the rates; to be called after each iteration."""
        for scheduler in self.schedulers:
            scheduler.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each schedule."""
        return [scheduler.state_dict() for scheduler in self.schedulers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Restores what `state_dict` returned."""
        for scheduler, kept in zip(self.schedulers, state, strict=True):
            scheduler.load_state_dict(kept)
