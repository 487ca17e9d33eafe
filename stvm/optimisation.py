"""What every training here shares: optimiser, schedule, seeds, and the watch on the loss."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stvm.errors import DivergenceError
from stvm.networks import SegmentationNetwork
from stvm.settings import TrainingSettings

_CHECK_EVERY = 50


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch; a process that ran another trial starts afresh."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """State of every global generator, as tensors and plain values."""
    drawn: dict[str, Any] = dict(np.random.get_state(legacy=False))
    key = torch.from_numpy(drawn["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": drawn | {"state": {"key": key, "pos": int(drawn["state"]["pos"])}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_random_states(state: dict[str, Any]) -> None:
    """Go on from what `random_states` gave."""
    random.setstate(state["python"])
    place = state["numpy"]["state"]
    key = place["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state(state["numpy"] | {"state": place | {"key": key}})
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([kept.cpu() for kept in state["cuda"]])


def sgd(network: SegmentationNetwork, training: TrainingSettings) -> torch.optim.SGD:
    """SGD with Nesterov momentum and two learning rates (section IV-B); fused on a GPU."""
    groups = [
        {"params": list(network.features.parameters()), "lr": training.lr},
        {
            "params": list(network.classifier.parameters()),
            "lr": training.lr * training.head_lr_factor,
        },
    ]
    return torch.optim.SGD(
        groups,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.momentum > 0,
        # On the CPU the fused kernel rounds otherwise than the trials recorded so far.
        fused=True if next(network.parameters()).device.type == "cuda" else None,
    )


def descend(optimizer: torch.optim.Optimizer, losses: Iterable[Tensor]) -> Tensor:
    """A step down the sum of losses; each has passed back before the next is made.

    Returns:
        The sum, without gradient.
    """
    passed: list[Tensor] = []
    for loss in losses:
        if not passed:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        passed.append(loss.detach())
    optimizer.step()
    return sum(passed[1:], start=passed[0])


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
        """After each iteration."""
        for scheduler in self.schedulers:
            scheduler.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Where each schedule is."""
        return [scheduler.state_dict() for scheduler in self.schedulers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        for scheduler, kept in zip(self.schedulers, state, strict=True):
            scheduler.load_state_dict(kept)


class FirstNonFinite:
    """Notes on the device the first iteration whose loss is not finite, and tells now and then.

    Asking the device in every iteration would make it wait for the processor.

    Args:
        seed: of the training.
        device: of the losses.
        rates: the learning rates to lower, for the message.
    """

    def __init__(self, seed: int, device: torch.device, rates: str) -> None:
        self.seed = seed
        self.rates = rates
        self.iteration = torch.zeros((), dtype=torch.long, device=device)
        self.value = torch.zeros((), device=device)

    def see(self, iteration: int, loss: Tensor) -> None:
        """Look at the loss of an iteration (from 1).

        Raises:
            DivergenceError: this or an earlier one was not finite; it names the first.
        """
        first = ~torch.isfinite(loss) & (self.iteration == 0)
        self.iteration = torch.where(first, iteration, self.iteration)
        self.value = torch.where(first, loss.to(self.value.dtype), self.value)
        if iteration % _CHECK_EVERY == 0:
            self.check()

    def state_dict(self) -> dict[str, Tensor]:
        """The first iteration that was not finite, and its loss."""
        return {"iteration": self.iteration, "value": self.value}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.iteration = state["iteration"].to(self.iteration.device)
        self.value = state["value"].to(self.value.device)

    def check_weights(self, iteration: int, *networks: nn.Module) -> None:
        """Raise if the last update, which no loss has seen, left a weight or buffer not finite."""
        self.check()
        for network in networks:
            for value in (*network.parameters(), *network.buffers()):
                if value.is_floating_point() and not bool(value.isfinite().all()):
                    raise DivergenceError(iteration, self.seed, float("nan"), self.rates)

    def check(self) -> None:
        """Raise if any iteration so far was not finite."""
        first = int(self.iteration)
        if first:
            # The loss of iteration 1 comes before any update.
            rates = self.rates if first > 1 else ""
            raise DivergenceError(first, self.seed, float(self.value), rates)
