"""What a data set is to all others: a sequence of images, with or without labels."""

from typing import Protocol

import numpy as np

from stvm.data.image_files import Uint8Array


class Images(Protocol):
    """A sequence of images."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        ...


class LabelledImages(Images, Protocol):
    """A sequence of images with labels."""

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        ...


class _TwoSizes:
    """Images of one size with labels of another."""

    def __init__(self, images: Images, labels: LabelledImages) -> None:
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Uint8Array:
        return self._images.image(index)

    def label(self, index: int) -> Uint8Array:
        return self._labels.label(index)


class EvenSubset:
    """Some of the images, evenly spaced; all where there are no more.

    Args:
        images: to choose among.
        most: how many.
    """

    def __init__(self, images: LabelledImages, most: int) -> None:
        self._images = images
        self._rows = evenly_spaced(len(images), most)

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        return self._images.image(self._rows[index])

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        return self._images.label(self._rows[index])


def evenly_spaced(count: int, most: int) -> list[int]:
    """Row numbers evenly spaced among `count`; all where there are no more than `most`."""
    rows: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return rows
