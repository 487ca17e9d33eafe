"""Metric-based online ClassMix (MOCM): reliable patches are banked and pasted, section III-D."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.method.checked_input import check_choice, check_maps
from stvm.method.regions import label_regions, region_statistics

Unit = Literal["class", "component"]
Order = Literal["large_first", "random"]


@dataclass(frozen=True)
class Patch:
    """One reliable region, cut out of its image with its bounding box.

    Attributes:
        image: Pixels of the box, (3, h, w): uint8 if `from_bytes` gives exactly the original
            values, otherwise float in [0, 1].
        mask: Pixels that belong to the patch, (h, w).
        reliability: Reliability of the pixels, (h, w).
        top: First row of the box in the image that it came from.
        left: First column of the box.
        area: Number of pixels of the mask.
    """

    image: Tensor
    mask: Tensor
    reliability: Tensor
    top: int
    left: int
    area: int

    def pixels(self) -> Tensor:
        """Pixels of the box, (3, h, w), in [0, 1], as they were banked."""
        return from_bytes(self.image) if self.image.dtype == torch.uint8 else self.image


def from_bytes(codes: Tensor) -> Tensor:
    """uint8 images -> images in [0, 1], as the trainer converts them."""
    return codes.float() / 255


def as_bytes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] as uint8, and whether `from_bytes` restores all of them to the bit."""
    codes = (images * 255).round().to(torch.uint8)
    return codes, (from_bytes(codes) == images).all()


class PatchBank(nn.Module):
    """Metric-based online ClassMix: banks reliable patches and pastes them into other images.

    One first-in-first-out buffer for each class. The patches move with `.to`; `state_dict` holds
    the patches and the state of the draws.

    Args:
        num_classes: Number of classes, C.
        buffer_size: Number of patches kept for each class.
        max_distance: Largest mean distance between a banked region and its class's proxy,
            tau_MOCM in the paper.
        classes_per_image: Number of classes drawn for an image, one patch each; N_MOCM.
        unit: Region that becomes a patch: all pixels of a predicted class in an image ("class") or
            one connected part of them ("component").
        order: Order of pasting, "large_first" or "random"; later patches lie on top.
        max_cover: Largest share of the image that a banked patch may cover, in (0, 1].
        seed: Seed of the draws.
        generator: CPU generator of the draws, in place of one made from `seed`.
        on_cpu: Whether patches stay in the CPU's memory, whatever the device of the images.

    Attributes:
        patches: Banked patches of each class, the oldest first.
        banked: Number of patches of each class banked so far.
        pasted: Share of the pixels that the last call of `paste` covered.
    """

    _device_of: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        buffer_size: int = 50,
        max_distance: float = 0.8,
        classes_per_image: int = 10,
        unit: Unit = "class",
        order: Order = "large_first",
        max_cover: float = 1.0,
        seed: int = 0,
        generator: torch.Generator | None = None,
        on_cpu: bool = False,
    ) -> None:
        super().__init__()
        self.patches: list[deque[Patch]] = [deque(maxlen=buffer_size) for _ in range(num_classes)]
        self.max_distance = max_distance
        self.classes_per_image = classes_per_image
        check_choice("PatchBank", "unit", unit, Unit)
        check_choice("PatchBank", "order", order, Order)
        self.unit: Unit = unit
        self.order = order
        self.max_cover = max_cover
        self.generator = generator or torch.Generator().manual_seed(seed)
        self.on_cpu = on_cpu
        self.banked = [0] * num_classes
        self.pasted: Tensor | float = 0.0
        # Without values: it goes where `.to` sends the bank, and loaded patches follow it.
        self.register_buffer("_device_of", torch.empty(0), persistent=False)

    def forward(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same as `paste`."""
        return self.paste(images, pseudo_labels, reliability)

    @torch.no_grad()
    def store(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor, distances: Tensor
    ) -> None:
        """Bank the regions whose mean distance is below `max_distance`.

        Args:
            images: Images in [0, 1], (N, 3, H, W).
            pseudo_labels: Predicted classes below C, (N, H, W).
            reliability: Reliability of the pixels (eq. 4), (N, H, W).
            distances: Distances of the pixels (eq. 3), (N, H, W).

        Raises:
            StvmError: The images are bytes, the shapes are others, or a label is not below C.
        """
        check_maps("PatchBank.store", images, (pseudo_labels, reliability, distances))
        # A label of no class would count as a class of the next image.
        labels = pseudo_labels.long().clamp(0, len(self.patches) - 1)
        regions, owners = label_regions(labels, len(self.patches), self.unit)
        means, boxes = region_statistics(regions, distances, len(owners))
        codes, exact = as_bytes(images)
        exact = torch.stack([(labels == pseudo_labels).all(), exact])
        rows = self._admitted(means, boxes, self.max_cover * pseudo_labels[0].numel(), exact)
        if rows and not rows[0][-2]:
            raise StvmError(
                f"PatchBank.store: a label is not a class from 0 to {len(self.patches) - 1}: give "
                "the bank num_classes of the labelling network, and no ignored pixels (255)"
            )
        if rows and rows[0][-1]:
            images = codes
        if rows and self.on_cpu:
            images, regions, reliability = images.cpu(), regions.cpu(), reliability.cpu()
        for region, top, bottom, left, right, area, *_ in rows:
            image, label = owners[region]
            self.banked[label] += 1
            window = (slice(top, bottom + 1), slice(left, right + 1))
            self.patches[label].append(
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
        """Number, box, area and `exact` (2,) of each region to bank, in one transfer to the CPU."""
        areas = boxes[:, 4]
        admitted = ((areas > 0) & (areas <= limit) & (means < self.max_distance)).nonzero()
        column = exact.long().expand(len(admitted), -1)
        rows: list[list[int]] = torch.cat([admitted, boxes[admitted[:, 0]], column], 1).tolist()
        return rows

    def paste(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Paste one patch of each drawn class into every image, at the place it came from.

        Args:
            images: Images in [0, 1], (N, 3, H, W).
            pseudo_labels: Predicted classes, (N, H, W).
            reliability: Reliability of the pixels, (N, H, W).

        Returns:
            Mixed images, labels and reliability in the shapes of the arguments, which stay as they
            are.

        Raises:
            StvmError: The images are bytes, the shapes are others, or a patch was banked from a
                larger image.
        """
        check_maps("PatchBank.paste", images, (pseudo_labels, reliability))
        mixed = images.clone(), pseudo_labels.clone(), reliability.clone()
        covered = torch.zeros_like(pseudo_labels, dtype=torch.bool)
        for index in range(len(images)):
            for label, kept in self._draw():
                patch = _on(images.device, kept)
                height, width = patch.mask.shape
                rows = slice(patch.top, patch.top + height)
                columns = slice(patch.left, patch.left + width)
                if rows.stop > images.shape[2] or columns.stop > images.shape[3]:
                    raise StvmError(
                        f"PatchBank.paste: a patch reaches row {rows.stop} and column "
                        f"{columns.stop}, and the images are {tuple(images.shape[2:])}: give all "
                        "images one size"
                    )
                pixels, labels, weights = (t[index][..., rows, columns] for t in mixed)
                pixels.copy_(torch.where(patch.mask, patch.pixels(), pixels))
                labels.masked_fill_(patch.mask, label)
                weights.copy_(torch.where(patch.mask, patch.reliability, weights))
                covered[index, rows, columns] |= patch.mask
        self.pasted = covered.float().mean()
        return mixed

    def get_extra_state(self) -> dict[str, Any]:
        """Patches, their numbers and the state of the draws, which `state_dict` includes."""
        return {
            "buffers": [[vars(patch) for patch in buffer] for buffer in self.patches],
            "banked": list(self.banked),
            "generator": self.generator.get_state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned, on the device of the bank."""
        if len(state["buffers"]) != len(self.patches):
            raise StvmError(
                f"PatchBank: the state has {len(state['buffers'])} classes and num_classes is "
                f"{len(self.patches)}: make both equal"
            )
        home = torch.device("cpu") if self.on_cpu else self._device_of.device
        for buffer, kept in zip(self.patches, state["buffers"], strict=True):
            buffer.clear()
            buffer.extend(_on(home, Patch(**patch)) for patch in kept)
        self.banked = list(state["banked"])
        self.generator.set_state(state["generator"].cpu())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the patches too (`.to`), unless they stay on the CPU."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for buffer in self.patches if not self.on_cpu else []:
            moved = [_moved(patch, fn) for patch in buffer]
            buffer.clear()
            buffer.extend(moved)
        return self

    def _draw(self) -> list[tuple[int, Patch]]:
        """One patch from each drawn class; empty classes are not drawn."""
        filled = [label for label, buffer in enumerate(self.patches) if buffer]
        chosen = torch.randperm(len(filled), generator=self.generator)[
            : self.classes_per_image
        ].tolist()
        places = torch.rand(len(chosen), generator=self.generator).tolist()
        drawn = [
            (filled[i], self.patches[filled[i]][int(place * len(self.patches[filled[i]]))])
            for i, place in zip(chosen, places, strict=True)
        ]
        return sorted(drawn, key=lambda d: -d[1].area) if self.order == "large_first" else drawn


def _on(device: torch.device, patch: Patch) -> Patch:
    if patch.mask.device == device:
        return patch
    return _moved(patch, lambda tensor: tensor.to(device, non_blocking=True))


def _moved(patch: Patch, fn: Callable[[Tensor], Tensor]) -> Patch:
    image, mask, reliability = map(fn, (patch.image, patch.mask, patch.reliability))
    return replace(patch, image=image, mask=mask, reliability=reliability)
