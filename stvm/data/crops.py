"""Random crops for training; each is determined by the seed and its position, so runs repeat.

Position p is slot p mod batch of iteration p // batch + 1. An epoch shows every image once, in a
random order. Neither the number of loading processes nor an interruption changes the crops.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from stvm.data.classes import IGNORE_INDEX
from stvm.data.image_files import Uint8Array
from stvm.data.images import Images, LabelledImages
from stvm.errors import StvmError
from stvm.files.scratch import shorten_temporary

T = TypeVar("T")


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 1, epoch)).permutation(count)


def image_at(seed: int, position: int, count: int) -> int:
    """Index of the image at a position."""
    epoch, place = divmod(position, count)
    return int(_permutation(seed, epoch, count)[place])


class Positions(Dataset[T]):
    """A data set with one item for each position of a training."""

    length: int

    def __len__(self) -> int:
        return self.length


class TargetCrops(Positions[Tensor]):
    """Unlabelled crops (3, h, w) uint8, one for each position.

    Args:
        images: Images of one size.
        size: Height and width of a crop.
        seed: Seed of the trial.
        length: Number of positions, iterations x batch.
    """

    def __init__(self, images: Images, size: tuple[int, int], seed: int, length: int) -> None:
        self.images = images
        self.size = size
        self.seed = seed
        self.length = length

    def __getitem__(self, position: int) -> Tensor:
        return self.cut(position)[0]

    def cut(self, position: int) -> tuple[Tensor, int, int, int]:
        """The crop at a position, the index of its image, and its top and left edge in pixels."""
        index = image_at(self.seed, position, len(self.images))
        image = self.images.image(index)
        rng = np.random.default_rng((self.seed, 2, position))
        top, left = (
            int(rng.integers(full - cut + 1))
            for full, cut in zip(image.shape[:2], self.size, strict=True)
        )
        cut = image[top : top + self.size[0], left : left + self.size[1]]
        return torch.from_numpy(cut).permute(2, 0, 1).contiguous(), index, top, left


class CropsInImages(Positions[tuple[Tensor, Tensor, Tensor]]):
    """Crops (3, h, w) uint8 with their whole images (3, H, W) uint8 and places (3,).

    A place is the index of the image, and the top and left edge of the crop in pixels.

    Args:
        crops: Crops alone.
    """

    def __init__(self, crops: TargetCrops) -> None:
        self.crops = crops
        self.length = crops.length

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        crop, index, top, left = self.crops.cut(position)
        whole = torch.from_numpy(self.crops.images.image(index)).permute(2, 0, 1).contiguous()
        return crop, whole, torch.tensor([index, top, left])


def class_pixels(images: LabelledImages, num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class in each image, (N, C)."""
    counts = [
        np.bincount(images.label(i).ravel(), minlength=IGNORE_INDEX + 1) for i in range(len(images))
    ]
    return np.stack(counts)[:, :num_classes]


class LabelledCrops(Positions[tuple[Tensor, Tensor]]):
    """Crops (3, h, w) uint8 with labels (h, w) int64 for supervised training.

    Args:
        images: Labelled images.
        size: Height and width of the returned crop.
        seed: Seed of the training.
        length: Number of positions.
        rare: Share of crops that are placed around a pixel of a class drawn uniformly.
        zoom: Largest share by which the cut window may be smaller than `size`; it is enlarged.
        num_classes: Number of classes, C.
    """

    def __init__(
        self,
        images: LabelledImages,
        size: tuple[int, int],
        seed: int,
        length: int,
        rare: float,
        zoom: float,
        num_classes: int,
    ) -> None:
        self.images = images
        self.size = size
        self.seed = seed
        self.length = length
        self.zoom = zoom
        self.rare = rare
        self.num_classes = num_classes
        self.holders = self._holders() if rare > 0 else []

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, 3, position))
        index = image_at(self.seed, position, len(self.images))
        wanted = None
        if self.holders and rng.random() < self.rare:
            wanted = self.holders[int(rng.integers(len(self.holders)))]
            index = int(rng.choice(wanted[1]))
        image, label = self.images.image(index), self.images.label(index)
        top, left, height, width = self._window(rng, label, wanted[0] if wanted else None)
        cut = torch.from_numpy(image[top : top + height, left : left + width]).permute(2, 0, 1)
        ids = torch.from_numpy(label[top : top + height, left : left + width].astype(np.int64))
        return self._enlarged(cut, ids)

    def _holders(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Classes with the images that hold at least 8 pixels of them; others are left out."""
        counts = class_pixels(self.images, self.num_classes)
        found = [(c, np.nonzero(counts[:, c] >= 8)[0]) for c in range(self.num_classes)]
        return [(c, indices) for c, indices in found if len(indices)]

    def _window(
        self, rng: np.random.Generator, label: Uint8Array, wanted: int | None
    ) -> tuple[int, int, int, int]:
        share = 1 - self.zoom * rng.random()
        height, width = (max(8, round(cut * share)) for cut in self.size)
        rows, columns = label.shape[0] - height, label.shape[1] - width
        if wanted is None:
            return int(rng.integers(rows + 1)), int(rng.integers(columns + 1)), height, width
        ys, xs = np.nonzero(label == wanted)
        pick = int(rng.integers(len(ys)))
        top = int(np.clip(ys[pick] - rng.integers(height), 0, rows))
        left = int(np.clip(xs[pick] - rng.integers(width), 0, columns))
        return top, left, height, width

    def _enlarged(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        if tuple(label.shape) == self.size:
            return image.contiguous(), label
        large = torch.nn.functional.interpolate(
            image[None].float(), size=self.size, mode="bilinear", align_corners=False
        )
        ids = torch.nn.functional.interpolate(label[None, None].float(), size=self.size)
        return large[0].round().to(torch.uint8), ids[0, 0].long()


class _Tried(Dataset[T | StvmError], Generic[T]):
    """Items, or the error that prevented an item.

    An error that a loading process raises arrives as a long traceback; one that it returns arrives
    unchanged.
    """

    def __init__(self, crops: Positions[T]) -> None:
        self.crops = crops

    def __getitem__(self, position: int) -> T | StvmError:
        try:
            return self.crops[position]
        except StvmError as error:
            return error


def _collate(items: list[Any]) -> Any:
    """A batch, or the first error among its items."""
    faults = (item for item in items if isinstance(item, StvmError))
    return next(faults, None) or default_collate(items)


def _raising(loaded: Iterator[T | StvmError], workers: int) -> Iterator[T]:
    while True:
        try:
            batch = next(loaded)
        except StopIteration:
            return
        except RuntimeError as error:
            # torch has no exception class for this.
            if not (workers and str(error).startswith("DataLoader worker")):
                raise
            raise StvmError(
                "a process that loads images was killed: look for the out-of-memory killer in "
                f"dmesg and at the size of /dev/shm, or lower workers={workers}"
            ) from error
        if isinstance(batch, StvmError):
            raise batch
        yield batch


def batches(
    crops: Positions[T],
    batch: int,
    workers: int,
    done: int = 0,
    until: int | None = None,
    *,
    pinned: bool = False,
) -> Iterator[T]:
    """Batches in order of position.

    Args:
        crops: Data set with one item for each position.
        batch: Positions per batch.
        workers: Number of loading processes; 0 loads in this process.
        done: Number of batches to skip at the beginning.
        until: Number of batches after which to end; all by default.
        pinned: True for page-locked memory, from which a GPU copies without waiting.

    Raises:
        StvmError: An image or label that cannot be used, or a loading process that was killed.
    """
    if workers:
        shorten_temporary()
    tried: _Tried[T] = _Tried(crops)
    loader = DataLoader(
        Subset(tried, range(done * batch, len(crops) if until is None else until * batch)),
        batch_size=batch,
        shuffle=False,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pinned,
        persistent_workers=False,
    )
    # Created here and not at the first batch, because it draws from torch's generator.
    return _raising(iter(loader), workers)
