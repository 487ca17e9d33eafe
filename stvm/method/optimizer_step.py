"""One optimiser step on a sum of losses."""

from collections.abc import Iterable

import torch
from torch import Tensor


def descend(optimizer: torch.optim.Optimizer, losses: Iterable[Tensor]) -> Tensor:
    """One optimiser step on the sum of the losses.

    The backward pass of each loss is done before the next loss is computed, so that the
    activations of one loss at a time are in memory.

    Args:
        optimizer: Optimiser of the parameters.
        losses: Scalars with gradient, computed one by one.

    Returns:
        The sum of the losses, without gradient.
    """
    passed: list[Tensor] = []
    for loss in losses:
        if not passed:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        passed.append(loss.detach())
    optimizer.step()
    return sum(passed[1:], start=passed[0])
