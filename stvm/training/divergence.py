"""A loss that is not finite, noticed without making the GPU wait."""

import torch
from torch import Tensor, nn

from stvm.errors import DivergenceError

_CHECK_EVERY = 50


class DivergenceMonitor:
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

    def check_loss(self, iteration: int, loss: Tensor) -> None:
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
