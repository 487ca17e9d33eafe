"""AdaBN (Li et al. 2018): the source model with the batch-norm statistics of the target."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.method.mean_teacher import batch_norms


@torch.no_grad()
def adapt_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of the batch norms by averages over target images, in place.

    Every batch counts alike, whatever its size. No weight is trained and no label is needed; all
    other layers, such as dropout, are in eval mode. Afterwards the whole network is in eval mode.

    Args:
        network: Network that takes images (N, 3, H, W) and has `nn.BatchNorm2d` layers.
        batches: Batches of target images as the network takes them, (N, 3, H, W), on its device;
            in [0, 1] for a `SegmentationNetwork`.

    Raises:
        StvmError: The network has no batch norm with running statistics, or there is no batch. The
            network is then as it was before.
    """
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
