"""Metric-based online ClassMix (MOCM): reliable patches banked and pasted, section III-D."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """One reliable region with its surroundings cut to the bounding box.

    Attributes:
        image: (3, h, w); uint8 where `from_bytes` gives the pixels back to the bit, else in [0, 1].
        mask: (h, w), the pixels that belong to the patch.
        reliability: (h, w).
        top: row of the box in the image it came from.
        left: column of the box.
        area: pixels of the mask.
    """

    image: Tensor
    mask: Tensor
    reliability: Tensor
    top: int
    left: int
    area: int

    def pixels(self) -> Tensor:
        """(3, h, w) in [0, 1], as they were banked."""
        return from_bytes(self.image) if self.image.dtype == torch.uint8 else self.image


def from_bytes(codes: Tensor) -> Tensor:
    """Images in [0, 1] of uint8 images, as the trainer makes them."""
    return codes.float() / 255


def as_bytes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] as uint8, and whether `from_bytes` gives all of them back to the bit."""
    codes = (images * 255).round().to(torch.uint8)
    return codes, (from_bytes(codes) == images).all()


class PatchBank:
    """First-in-first-out buffers of patches, one for each class, and their pasting.

    Args:
        num_classes: C.
        size: patches kept for each class.
        tau: a region is banked where its mean distance to its class's proxy is below this.
        number: classes drawn for an image, one patch each (N_MOCM).
        unit: a region is a whole predicted class of an image or one connected part of it.
        order: of pasting; what comes last lies on top.
        max_cover: patches larger than this share of the image are never banked.
        generator: CPU generator of the draws.
        on_cpu: keep patches in the CPU's memory, whatever the device of the images.

    Attributes:
        banked: patches of each class that were ever banked.
        pasted: share of the pixels that the last call of `paste` covered.
    """

    def __init__(
        self,
        num_classes: int,
        size: int,
        tau: float,
        number: int,
        unit: Literal["class", "component"],
        order: Literal["large_first", "random"],
        max_cover: float,
        generator: torch.Generator,
        on_cpu: bool = False,
    ) -> None:
        self.buffers: list[deque[Patch]] = [deque(maxlen=size) for _ in range(num_classes)]
        self.tau = tau
        self.number = number
        self.unit = unit
        self.order = order
        self.max_cover = max_cover
        self.generator = generator
        self.on_cpu = on_cpu
        self.banked = [0] * num_classes
        self.pasted: Tensor | float = 0.0

    def store(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor, distances: Tensor
    ) -> None:
        """Bank the regions whose mean distance is below tau, with image, label and reliability.

        Args:
            images: (N, 3, H, W).
            pseudo_labels: (N, H, W).
            reliability: (N, H, W).
            distances: (N, H, W), eq. 3.
        """
        regions, owners = label_regions(pseudo_labels, len(self.buffers), self.unit)
        means, boxes = region_statistics(regions, distances, len(owners))
        codes, exact = as_bytes(images)
        rows = self._admitted(means, boxes, self.max_cover * pseudo_labels[0].numel(), exact)
        if rows and rows[0][-1]:
            images = codes
        if rows and self.on_cpu:
            images, regions, reliability = images.cpu(), regions.cpu(), reliability.cpu()
        for region, top, bottom, left, right, area, _ in rows:
            image, label = owners[region]
            self.banked[label] += 1
            window = (slice(top, bottom + 1), slice(left, right + 1))
            self.buffers[label].append(
                Patch(
                    images[image][:, window[0], window[1]].clone(),
                    regions[image][window] == region,
                    reliability[image][window].clone(),
                    top,
                    left,
                    area,
                )
            )

    def _admitted(
        self, means: Tensor, boxes: Tensor, limit: float, exact: Tensor
    ) -> list[list[int]]:
        """Number, box, area and `exact` of each region to bank: all that the CPU has to know."""
        areas = boxes[:, 4]
        admitted = ((areas > 0) & (areas <= limit) & (means < self.tau)).nonzero()
        column = exact.long().expand(len(admitted), 1)
        rows: list[list[int]] = torch.cat([admitted, boxes[admitted[:, 0]], column], 1).tolist()
        return rows

    def paste(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and reliability with one patch of each drawn class pasted in.

        The inputs are left as they are. Patches return to the place they came from.
        """
        mixed = images.clone(), pseudo_labels.clone(), reliability.clone()
        covered = torch.zeros_like(pseudo_labels, dtype=torch.bool)
        for index in range(len(images)):
            for label, kept in self._draw():
                patch = _on(images.device, kept)
                height, width = patch.mask.shape
                rows = slice(patch.top, patch.top + height)
                columns = slice(patch.left, patch.left + width)
                pixels, labels, weights = (t[index][..., rows, columns] for t in mixed)
                pixels.copy_(torch.where(patch.mask, patch.pixels(), pixels))
                labels.masked_fill_(patch.mask, label)
                weights.copy_(torch.where(patch.mask, patch.reliability, weights))
                covered[index, rows, columns] |= patch.mask
        self.pasted = covered.float().mean()
        return mixed

    def state_dict(self) -> dict[str, Any]:
        """Buffers and the state of the draws."""
        return {
            "buffers": [[vars(patch) for patch in buffer] for buffer in self.buffers],
            "banked": list(self.banked),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` gave, with the patches on `device` or the CPU."""
        home = torch.device("cpu") if self.on_cpu else device
        for buffer, kept in zip(self.buffers, state["buffers"], strict=True):
            buffer.clear()
            buffer.extend(_on(home, Patch(**patch)) for patch in kept)
        self.banked = list(state["banked"])
        self.generator.set_state(state["generator"].cpu())

    def _draw(self) -> list[tuple[int, Patch]]:
        """One patch from each of at most `number` classes drawn among those that have any."""
        filled = [label for label, buffer in enumerate(self.buffers) if buffer]
        chosen = torch.randperm(len(filled), generator=self.generator)[: self.number].tolist()
        places = torch.rand(len(chosen), generator=self.generator).tolist()
        drawn = [
            (filled[i], self.buffers[filled[i]][int(place * len(self.buffers[filled[i]]))])
            for i, place in zip(chosen, places, strict=True)
        ]
        return sorted(drawn, key=lambda d: -d[1].area) if self.order == "large_first" else drawn


def _on(device: torch.device, patch: Patch) -> Patch:
    if patch.mask.device == device:
        return patch
    image, mask, reliability = (
        t.to(device, non_blocking=True) for t in (patch.image, patch.mask, patch.reliability)
    )
    return replace(patch, image=image, mask=mask, reliability=reliability)


class NoPatches:
    """What stands where MOCM is off: nothing is banked, nothing is pasted."""

    banked: Sequence[int] = ()
    pasted: Tensor | float = 0.0

    def store(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor, distances: Tensor
    ) -> None:
        """Keep nothing."""

    def paste(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs themselves."""
        return images, pseudo_labels, reliability

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take nothing."""


def label_regions(
    labels: Tensor, num_classes: int, unit: Literal["class", "component"]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Number the regions of a batch; the i-th owner is (image, class) of region i.

    Args:
        labels: (N, H, W).
        num_classes: C.
        unit: see `PatchBank`.

    Returns:
        Region of each pixel (N, H, W), and the owners.
    """
    count = len(labels)
    if unit == "class":
        offset = torch.arange(count, device=labels.device).view(-1, 1, 1) * num_classes
        owners = [(n, c) for n in range(count) for c in range(num_classes)]
        return labels + offset, owners
    regions = np.zeros(labels.shape, dtype=np.int64)
    owners = []
    for n, frame in enumerate(labels.cpu().numpy()):
        for c in np.unique(frame):
            parts, number = ndimage.label(frame == c)
            regions[n] += np.where(parts > 0, parts - 1 + len(owners), 0)
            owners += [(n, int(c))] * number
    return torch.from_numpy(regions).to(labels.device), owners


def region_statistics(regions: Tensor, distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean distance (R,) and bounding boxes (R, 5): top, bottom, left, right, area.

    Args:
        regions: (N, H, W) numbers below `count`.
        distances: (N, H, W).
        count: R.
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
    # Not `bincount`, whose weights a GPU refuses in deterministic mode; the sums are the same.
    return values.new_zeros(count).index_add(0, groups, values)
