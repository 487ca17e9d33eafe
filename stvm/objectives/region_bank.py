"""Regions of target images that a labelling network predicts as one class, pasted into crops.

They are cut from the labels that `region_survey` writes.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages

LEAST_PART = 0.4
"""Least pixels of a connected part that is pasted, relative to those of a class in an image."""
TRIES = 99
"""Places that are drawn for a part before it is left out."""

Labels = NDArray[np.uint8]


def rare_classes(
    regions: NDArray[np.bool_], pixels: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """Classes with fewest predicted pixels, at least one, of those that have a region; sorted.

    Args:
        regions: Whether an image has a region of a class, (M, C).
        pixels: Predicted pixels of each class, (C,).
        share: Share of all classes.
    """
    there = np.flatnonzero(regions.any(axis=0))
    most = max(1, round(share * len(pixels)))
    return np.sort(there[np.argsort(pixels[there], kind="stable")[:most]])


class RegionBank:
    """Regions of the target images, of the labels of a round.

    Args:
        least: Least pixels of a class in an image from which it is pasted.
        scale: Largest scale of a pasted part; the scale is drawn from 1 up.
        images: Target images.
        labels: Labels of the round.
        regions: Whether an image has a region of a class, (M, C).
        classes: Classes that are pasted.
    """

    def __init__(
        self,
        images: TargetImages,
        labels: LabelStore,
        regions: NDArray[np.bool_],
        classes: NDArray[np.int64],
        *,
        least: int,
        scale: float,
    ) -> None:
        self.images = images
        self.labels = labels
        self.regions = regions
        self.classes = classes
        self.least_part = LEAST_PART * least
        self.scale = scale

    def drawn(
        self, chances: NDArray[np.float64], draws: np.random.Generator
    ) -> tuple[Tensor, Labels, int] | None:
        """An image (3, H, W) with a region, the mask of the region (H, W), and its class.

        Args:
            chances: Chances of all classes up to a factor, (C,).
            draws: Generator.

        Returns:
            None if there is no region at all.
        """
        own = np.maximum(chances[self.classes], 0)
        if not own.sum() > 0:
            return None
        chosen = int(draws.choice(self.classes, p=own / own.sum()))
        index = int(draws.choice(np.flatnonzero(self.regions[:, chosen])))
        mask = (self.labels.read(index).numpy() == chosen).astype(np.uint8)
        return self.images.image(index)[0], mask, chosen

    def paste(
        self,
        image: Tensor,
        chances: NDArray[np.float64],
        draws: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """An image with a region pasted into it, and the labels of the pasted pixels.

        Args:
            image: Image in [0, 1], (3, h, w).
            chances: Chances of all classes up to a factor, (C,).
            draws: Generator.

        Returns:
            Image (3, h, w), and labels (h, w), 255 where nothing was pasted.
        """
        size = (image.shape[-2], image.shape[-1])
        labels = torch.full(size, IGNORE_INDEX, device=image.device)
        found = self.drawn(chances, draws)
        if found is None:
            return image, labels
        donor, mask, chosen = found
        image = image.clone()
        filled = np.zeros(size, np.bool_)
        for rows, columns, part in self.parts(mask):
            scale = 1 + draws.random() * (self.scale - 1)
            shape = (round(part.shape[0] * scale), round(part.shape[1] * scale))
            place = free_place(filled, shape, draws)
            if place is None:
                continue
            top, left = place
            window = (slice(top, top + shape[0]), slice(left, left + shape[1]))
            pixels = F.interpolate(donor[None, :, rows, columns], size=shape)[0]
            enlarged = torch.from_numpy(part).to(image.device)[None, None].float()
            inside = F.interpolate(enlarged, size=shape)[0, 0] > 0
            image[:, *window] = torch.where(inside, pixels, image[:, *window])
            labels[window] = labels[window].masked_fill(inside, chosen)
            filled[window] = True
        return image, labels

    def parts(self, mask: Labels) -> Iterator[tuple[slice, slice, Labels]]:
        """Connected parts of a mask that are large enough: rows, columns, and the mask in them."""
        # Imported here: whoever imports this module need not wait for scipy.
        from scipy import ndimage

        numbers, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        for number, window in enumerate(ndimage.find_objects(numbers), start=1):
            part = (numbers[window] == number).astype(np.uint8)
            if part.sum() >= self.least_part:
                yield (*window, part)


def free_place(
    filled: NDArray[np.bool_], shape: tuple[int, int], draws: np.random.Generator
) -> tuple[int, int] | None:
    """Top and left edge of a random place whose first and last corner are free.

    Args:
        filled: Pixels of an image that are taken, (h, w).
        shape: Height and width of the part.
        draws: Generator.

    Returns:
        None if the part is as large as the image, or if no place was found.
    """
    rooms = [full - own for full, own in zip(filled.shape, shape, strict=True)]
    if min(rooms) <= 0:
        return None
    for _ in range(TRIES):
        top, left = (int(draws.integers(room)) for room in rooms)
        if not (filled[top, left] or filled[top + shape[0], left + shape[1]]):
            return top, left
    return None
