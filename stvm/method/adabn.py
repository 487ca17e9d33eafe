"""AdaBN (Li et al. 2018): the source model with batch-norm statistics of the target, or a share."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.method.mixed_statistics import batch_norms

_STATISTICS = ("running_mean", "running_var")


@torch.no_grad()
def adapt_batch_norm(network: nn.Module, batches: Iterable[Tensor], *, share: float = 1.0) -> None:
    """Move the running statistics of the batch norms to averages over target images, in place.

    With a share below 1, mean and variance of each channel end that share of the way from the
    network's own to the target's, as alpha-BN (You et al. 2021) mixes them. Every batch counts
    alike, whatever its size. No weight is trained and no label is needed; all other layers, such as
    dropout, are in eval mode. Afterwards the whole network is in eval mode.

    Args:
        network: Network that takes images (N, 3, H, W) and has `nn.BatchNorm2d` layers.
        batches: Batches of target images as the network takes them, (N, 3, H, W), on its device;
            in [0, 1] for a `SegmentationNetwork`.
        share: Share of the way to the target's statistics, above 0 and at most 1; 1 is AdaBN.

    Raises:
        StvmError: The network has no batch norm with running statistics, there is no batch, or the
            share is not above 0 and at most 1. The network is then as it was before.
    """
    if not 0 < share <= 1:
        raise StvmError(f"adapt_batch_norm: share={share} is not above 0 and at most 1")
    norms = batch_norms(network)
    if not norms:
        raise StvmError(
            f"adapt_batch_norm: {type(network).__name__} has no nn.BatchNorm2d with running "
            "statistics: there is nothing to adapt"
        )
    left = iter(batches)
    if (first := next(left, None)) is None:
        raise StvmError(
            "adapt_batch_norm: no batch: give a loader of images, or a new iterator if this one "
            "was used before"
        )
    momenta = [norm.momentum for norm in norms]
    statistics = [norm.get_buffer(name) for norm in norms for name in _STATISTICS]
    own = [value.clone() for value in statistics]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.eval()
    for norm in norms:
        norm.train()
    for images in chain([first], left):
        network(images)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    if share < 1:
        for value, before in zip(statistics, own, strict=True):
            value.copy_(before.lerp(value, share))
