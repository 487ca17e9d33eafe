"""How well scores tell right pseudo-labels from wrong ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.data.images import LabelledImages
from stvm.evaluation.evaluate import labelled_batches

SAMPLED_PIXELS = 512


def auroc(scores: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float | None:
    """Probability that a right pixel scores above a wrong one (ties count half).

    The rank formula of Mann and Whitney; None when all are right or all wrong.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    # Not by scipy.stats, whose import would add a second to the start of every worker.
    _, value_of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[value_of]
    above = float(ranks[right].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


@torch.no_grad()
def pseudo_label_auroc(
    read: Callable[[Tensor], dict[str, Tensor]],
    images: LabelledImages,
    device: torch.device,
) -> dict[str, float | None]:
    """How well each score tells right pseudo-labels from wrong ones, as AUROC.

    Args:
        read: images -> {"labels": pseudo-labels (N, H, W), a name: scores (N, H, W), ...}.
        images: held out; at most 512 pixels of each are sampled, always the same.
        device: of the networks.
    """
    right: list[Tensor] = []
    scores: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    for pixels, labels in labelled_batches(images, device):
        maps = read(pixels)
        predicted = maps.pop("labels")
        size = labels[0].numel()
        drawn = torch.randperm(size, generator=generator)[:SAMPLED_PIXELS].to(device)
        flat = labels.flatten(1)[:, drawn]
        known = flat != IGNORE_INDEX
        right.append((predicted.flatten(1)[:, drawn] == flat)[known])
        for name, values in maps.items():
            scores.setdefault(name, []).append(values.flatten(1)[:, drawn][known])
    correct = torch.cat(right).cpu().numpy()
    return {name: auroc(torch.cat(v).cpu().numpy(), correct) for name, v in scores.items()}
