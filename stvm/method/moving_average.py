"""The step of a moving average of networks."""

import torch
from torch import nn


@torch.no_grad()
def move_towards(average: nn.Module, network: nn.Module, weight: float) -> None:
    """average <- (1 - weight) average + weight network, of the parameters alone, in place.

    Args:
        average: Network that follows.
        network: Network with the same parameters; it is only read.
        weight: Weight of the network.
    """
    for own, new in zip(average.parameters(), network.parameters(), strict=True):
        own.lerp_(new, weight)
