"""Quality of confidence and reliability: how well they separate right from wrong labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.data.images import LabelledImages
from stvm.evaluation.class_mapping import ClassMapping
from stvm.evaluation.evaluate import labelled_batches

SAMPLED_PIXELS = 512


def auroc(scores: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float | None:
    """Probability that a right pixel has a higher score than a wrong one; ties count half.

    This is the rank formula of Mann and Whitney. None if all pixels are right or all are wrong.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    # Not from scipy.stats: its import would add a second to the start of every worker.
    _, value_of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[value_of]
    above = float(ranks[right].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


@torch.no_grad()
def pseudo_label_auroc(
    read: Callable[[Tensor], dict[str, Tensor]],
    images: LabelledImages,
    device: torch.device,
    mapping: ClassMapping | None = None,
) -> dict[str, float | None]:
    """AUROC of each score: how well it separates right pseudo-labels from wrong ones.

    Args:
        read: Function from images to {"labels": pseudo-labels (N, H, W), NAME: scores (N, H, W)}.
        images: Held-out images; at most 512 fixed pixels of each are used.
        device: Device of the networks.
        mapping: Mapping of the pseudo-labels to the classes of the images' labels; None if they
            are the same. An unmatched pseudo-label is wrong, or left out if it is ignored.

    Returns:
        AUROC by the name of the score.
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
        given = predicted.flatten(1)[:, drawn]
        if mapping:
            given = mapping.target_classes(given)
            if mapping.rule == "ignored":
                known &= given != IGNORE_INDEX
        right.append((given == flat)[known])
        for name, values in maps.items():
            scores.setdefault(name, []).append(values.flatten(1)[:, drawn][known])
    correct = torch.cat(right).cpu().numpy()
    return {name: auroc(torch.cat(v).cpu().numpy(), correct) for name, v in scores.items()}
