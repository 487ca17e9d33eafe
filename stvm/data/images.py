"""The types of opened data: a sequence of images, with or without labels.

An opened data set also carries the meaning of its labels, so that nobody has to look it up.
"""

from typing import Protocol

import numpy as np

from stvm.data.image_files import Uint8Array
from stvm.data.labelling import Labelling


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


class OpenedImages:
    """Images of a data set, with the meaning of its labels.

    Args:
        images: Images as they are read.
        labelling: Class names, colours and ignored id of the data set.
    """

    def __init__(self, images: Images, labelling: Labelling) -> None:
        self.images = images
        self.labelling = labelling

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        return self.images.image(index)


class OpenedLabelledImages(OpenedImages):
    """Images with labels, which may have a size of their own, and the meaning of the labels.

    Args:
        images: Images as they are read.
        labels: Labels as they are read, one for each image.
        labelling: Class names, colours and ignored id of the data set.
    """

    def __init__(self, images: Images, labels: LabelledImages, labelling: Labelling) -> None:
        super().__init__(images, labelling)
        self.labels = labels

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        return self.labels.label(index)


class EvenSubset(OpenedLabelledImages):
    """Some of the images, evenly spaced; all of them if there are no more.

    Args:
        images: Images to choose from.
        most: Largest number of images to keep.
    """

    def __init__(self, images: OpenedLabelledImages, most: int) -> None:
        super().__init__(images, images, images.labelling)
        self._rows = evenly_spaced(len(images), most)

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        return super().image(self._rows[index])

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        return super().label(self._rows[index])


def evenly_spaced(count: int, most: int) -> list[int]:
    """Row numbers evenly spaced among `count`; all where there are no more than `most`."""
    rows: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return rows
