"""Regions of predicted classes, their mean distances and bounding boxes (section III-D)."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor


def label_regions(
    labels: Tensor, num_classes: int, unit: Literal["class", "component"]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Number the regions of a batch.

    Args:
        labels: Predicted classes, (N, H, W).
        num_classes: Number of classes, C.
        unit: Kind of region, see `stvm.method.patches.PatchBank`.

    Returns:
        Number of each pixel's region, (N, H, W), and the image and class of each region.
    """
    count = len(labels)
    if unit == "class":
        offset = torch.arange(count, device=labels.device).view(-1, 1, 1) * num_classes
        owners = [(n, c) for n in range(count) for c in range(num_classes)]
        return labels + offset, owners
    # Imported here: whoever imports this module need not wait for scipy.
    from scipy import ndimage

    regions = np.zeros(labels.shape, dtype=np.int64)
    owners = []
    for n, frame in enumerate(labels.cpu().numpy()):
        for c in np.unique(frame):
            parts, number = ndimage.label(frame == c)
            regions[n] += np.where(parts > 0, parts - 1 + len(owners), 0)
            owners += [(n, int(c))] * number
    return torch.from_numpy(regions).to(labels.device), owners


def region_statistics(regions: Tensor, distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean distance and bounding box of each region.

    Args:
        regions: Number of each pixel's region, below `count`, (N, H, W).
        distances: Distances of the pixels, (N, H, W).
        count: Number of regions, R.

    Returns:
        Mean distances (R,), and boxes (R, 5): top, bottom, left, right, area.
    """
    flat = regions.flatten()
    area = torch.bincount(flat, minlength=count)
    total = _sums(flat, distances.flatten(), count)
    size = regions.shape[1:]
    device = regions.device
    rows = torch.arange(size[0], device=device).view(-1, 1).expand(size)
    columns = torch.arange(size[1], device=device).expand(size)
    sides = []
    for coordinate in (rows, columns):
        values = coordinate.expand_as(regions).flatten()
        for reduce, start in (("amin", max(size)), ("amax", -1)):
            empty = torch.full((count,), start, dtype=torch.long, device=device)
            sides.append(empty.scatter_reduce(0, flat, values, reduce))
    return total / area.clamp(min=1), torch.stack([*sides, area], 1)


def _sums(groups: Tensor, values: Tensor, count: int) -> Tensor:
    """Sum of the values of each group, (count,)."""
    # Not `bincount`: a GPU refuses its weights in deterministic mode. The sums are the same.
    return values.new_zeros(count).index_add(0, groups, values)
