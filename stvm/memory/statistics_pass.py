"""Memory of the passes by which batch norm takes statistics of whole target images."""

import torch

from stvm.data.batches import BATCH
from stvm.memory.tensors import MemoryMeter, size_of, values_of
from stvm.method.mixed_statistics import batch_norms
from stvm.networks import SegmentationNetwork, preserve_modes
from stvm.settings import PEERS, Settings


def statistics_passes(
    settings: Settings, source: SegmentationNetwork, standing: dict[str, int]
) -> list[tuple[dict[str, int], int]]:
    """Passes of a trial: bytes in memory beside it by their purpose, and the peak of the pass.

    Args:
        settings: Settings of the trial.
        source: Source model on fake tensors.
        standing: Bytes that are in memory after the training, by their purpose.
    """
    found = []
    if _measures_before(settings):
        found.append({"weights": 2 * size_of(values_of(source))})
    if _measures_after(settings):
        found.append(standing)
    peak = _peak(settings, source) if found else 0
    return [(parts, peak) for parts in found]


def _measures_before(settings: Settings) -> bool:
    """Whether a trial has such a pass before any training, with two networks in memory."""
    method = settings.method
    return method.procedure == "adabn" or (method.adapts and method.start_bn > 0)


def _measures_after(settings: Settings) -> bool:
    """Whether the objective of a trial has such a pass after its training."""
    peer = PEERS.get(settings.method.procedure)
    return bool(peer and peer.needs_batch_norm)


@torch.no_grad()
def _peak(settings: Settings, network: SegmentationNetwork) -> int:
    """Most bytes of such a pass beside the network, on fake tensors."""
    data = settings.data
    # Batches do not follow the size of the images: they decide the statistics.
    together = min(BATCH, data.target_images) if data.dataset == "streets" else BATCH
    with preserve_modes(network), MemoryMeter() as live:
        network.eval()
        for norm in batch_norms(network):
            norm.train()
        network(torch.empty(together, 3, data.height, data.width))
    return int(live.peak)
