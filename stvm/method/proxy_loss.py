"""The loss of the metric network: equation 2 of the paper, and the pixels that it is taken over."""

from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.method.distance import normalized_squared_distance


def proxy_nca_loss(
    features: Tensor, labels: Tensor, proxies: Tensor, temperature: float = 0.25
) -> Tensor:
    """Proxy NCA loss with temperature (eq. 2), averaged over the pixels; a scalar.

    The paper sums over the pixels. Adam's step does not depend on the scale of the loss.

    Args:
        features: Metric features of the pixels, (P, N_f).
        labels: Classes of the pixels, (P,).
        proxies: Proxy of each class, (C, N_f).
        temperature: Temperature T.
    """
    return F.cross_entropy(-normalized_squared_distance(features, proxies) / temperature, labels)


def balanced_sample(
    mask: Tensor,
    labels: Tensor,
    num_classes: int,
    limit: int,
    balance: Literal["rarest", "repeat"],
    generator: torch.Generator,
    floor: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (n, y, x) of the mask, an equal number of every class present (section III-C).

    Args:
        mask: Metric pseudo-labels, (N, H, W).
        labels: Predicted classes, (N, H, W).
        num_classes: Number of classes, C.
        limit: Largest number of pixels of a class.
        balance: "rarest" takes as many of each class as the rarest present one has; "repeat"
            takes `limit` of each, some of them several times if a class has fewer.
        generator: CPU generator of the draws, so that they do not depend on the device.
        floor: Least number of pixels of a class that takes part; smaller classes are left out.

    Returns:
        Image, row and column of each pixel, three tensors (P,).
    """
    index = mask.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(index[0]), generator=generator).to(mask.device, non_blocking=True)
    classes = labels[index][shuffled]
    order = shuffled[torch.argsort(classes, stable=True)]
    # One transfer from the device to the CPU in place of one for each class.
    counts: list[int] = torch.bincount(classes, minlength=num_classes).tolist()
    starts = [end - count for end, count in zip(accumulate(counts), counts, strict=True)]
    kept = [(s, c) for s, c in zip(starts, counts, strict=True) if c >= max(floor, 1)]
    first, present = torch.tensor(kept, dtype=torch.long).view(-1, 2).unbind(1)
    if balance == "rarest":
        rank = torch.arange(min([limit, *(count for _, count in kept)])).expand(len(kept), -1)
    else:
        rank = torch.arange(limit) % present.unsqueeze(1)
    places = (first.unsqueeze(1) + rank).flatten()
    chosen = order[places.to(mask.device, non_blocking=True)]
    return index[0][chosen], index[1][chosen], index[2][chosen]
