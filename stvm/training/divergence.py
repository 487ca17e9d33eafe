"""Detects a loss or weight that is not finite, without making the GPU wait."""

import torch
from torch import Tensor, nn

from stvm.errors import DivergenceError

_CHECK_EVERY = 50


class DivergenceMonitor:
    """Notes the first iteration whose loss is not finite; raises at every 50th iteration.

    The note is kept on the device: asking a GPU in every iteration would make it wait.

    Args:
        seed: Seed of the training.
        device: Device of the losses.
        rates: Names of the learning rates to lower, for the message.
    """

    def __init__(self, seed: int, device: torch.device, rates: str) -> None:
        self.seed = seed
        self.rates = rates
        self.iteration = torch.zeros((), dtype=torch.long, device=device)
        self.value = torch.zeros((), device=device)

    def check_loss(self, iteration: int, loss: Tensor) -> None:
        """Checks the loss of an iteration, counted from 1.

        Raises:
            DivergenceError: A loss up to now was not finite; the message names the first.
        """
        first = ~torch.isfinite(loss) & (self.iteration == 0)
        self.iteration = torch.where(first, iteration, self.iteration)
        self.value = torch.where(first, loss.to(self.value.dtype), self.value)
        if iteration % _CHECK_EVERY == 0:
            self.check()

    def state_dict(self) -> dict[str, Tensor]:
        """The first iteration whose loss was not finite, 0 for none, and that loss."""
        return {"iteration": self.iteration, "value": self.value}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self.iteration = state["iteration"].to(self.iteration.device)
        self.value = state["value"].to(self.value.device)

    def check_weights(self, iteration: int, *networks: nn.Module) -> None:
        """Raises if a weight or buffer is not finite; no loss has checked the last update."""
        self.check()
        for network in networks:
            for value in (*network.parameters(), *network.buffers()):
                if value.is_floating_point() and not bool(value.isfinite().all()):
                    raise DivergenceError(iteration, self.seed, float("nan"), self.rates)

    def check(self) -> None:
        """Raises if any loss so far was not finite."""
        first = int(self.iteration)
        if first:
            # Before the first update no learning rate can be the cause.
            rates = self.rates if first > 1 else ""
            raise DivergenceError(first, self.seed, float(self.value), rates)
