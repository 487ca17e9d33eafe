"""One optimiser step down the sum of losses."""

from collections.abc import Iterable

import torch
from torch import Tensor


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
