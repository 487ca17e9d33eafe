"""AdaBN (Li et al. 2018): the source model with the batch-norm statistics of the target."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

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
    """
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.eval()
    for norm in norms:
        norm.train()
    for images in batches:
        network(images)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
