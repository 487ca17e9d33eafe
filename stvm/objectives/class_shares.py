"""Class shares of predictions: how much of an image each class takes; their KL divergence."""

import torch
from torch import Tensor

from stvm.networks import preserve_modes
from stvm.networks.forward_mode import Pass
from stvm.objectives.objective import Given, TargetImages


def uniform_shares(like: Tensor) -> Tensor:
    """Equal shares of all classes, in the shape and type of some shares (C,)."""
    return torch.full_like(like, 1 / len(like))


def divergence(shares: Tensor, prior: Tensor, least: float) -> Tensor:
    """KL(shares || prior) = sum_c s_c (ln(s_c + least) - ln(prior_c + least)), over the last axis.

    Args:
        shares: Shares of the classes, (..., C).
        prior: Shares that are expected, (C,).
        least: Small number added inside the logarithms, so that a share of 0 has a logarithm.
    """
    return (shares * ((shares + least).log() - (prior + least).log())).sum(-1)


class SharesOfStart:
    """Class shares that the starting network predicts on the target images; no label is needed.

    Args:
        given: Starting network, number of classes and device.

    Attributes:
        values: Mean softmax over all pixels of all images, (C,); equal shares before `measure`.
    """

    def __init__(self, given: Given) -> None:
        self.given = given
        self.values = uniform_shares(torch.ones(given.num_classes, device=given.device))

    @torch.no_grad()
    def measure(self, images: TargetImages) -> None:
        """Predicts all images in eval mode; modes and buffers of the network stay as they are."""
        total = torch.zeros_like(self.values, dtype=torch.float64)
        predict, size = self.given.forward_mode.predict(self.given.start), images.size_of_batch()
        for first in range(0, len(images), size):
            total += self.over(images.batch(first, size), predict)
        self.values = (total / len(images)).to(self.values.dtype)

    @torch.no_grad()
    def over(self, images: Tensor, predict: Pass) -> Tensor:
        """Sum over images (N, 3, H, W) of their mean shares, (C,).

        Args:
            images: Target images.
            predict: Pass of the starting network.
        """
        with preserve_modes(self.given.start):
            self.given.start.eval()
            return predict(images).softmax(1).mean((2, 3)).sum(0)

    def load(self, values: Tensor) -> None:
        """Takes shares from a saved state, on any device."""
        self.values = values.to(self.given.device)
