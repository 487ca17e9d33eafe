"""Decodes and resizes images and labels of the published data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

from stvm.data.image_files import (
    Uint8Array,
    check_intact,
    read_first_channel,
    read_ids,
    read_rgb,
    read_size,
)
from stvm.data.published.dataset_layouts import DatasetLayout
from stvm.errors import StvmError

ASPECT_TOLERANCE = 0.02
"""Allowed relative difference of proportions: a few GTA5 labels have some rows too many."""

Size = tuple[int, int]
"""Height and width in pixels."""


def decode_image(path: Path, size: Size) -> Uint8Array:
    """RGB (H, W, 3), resized bicubically if the file has another size.

    Raises:
        StvmError: The file cannot be read.
    """
    check_intact(path)
    image = read_rgb(path)
    return np.array(_resized(image, size, Image.Resampling.BICUBIC), dtype=np.uint8)


def decode_ids(layout: DatasetLayout, path: Path, image_path: Path, size: Size) -> Uint8Array:
    """Ids of a label (H, W) as the data set numbers them, resized to the nearest pixel.

    Args:
        layout: Layout of the data set.
        path: Label file.
        image_path: Image file, whose proportions the label must have.
        size: Height and width of the result.

    Raises:
        StvmError: A fault that `stored_ids` raises.
    """
    ids = stored_ids(layout, path, image_path)
    return np.array(_resized(Image.fromarray(ids), size, Image.Resampling.NEAREST))


def stored_ids(layout: DatasetLayout, path: Path, image_path: Path) -> Uint8Array:
    """Ids of a label (H, W) as the data set numbers them, at the size of the file.

    Raises:
        StvmError: The file cannot be read, has another format than the published file, has other
            proportions than its image, or holds ids that the data set does not have.
    """
    check_intact(path)
    stored = read_first_channel(path) if layout.sixteen_bits else read_ids(path)
    ids = layout.ids.checked(path, stored)
    width, height = read_size(image_path)
    if abs(ids.shape[1] * height / (ids.shape[0] * width) - 1) > ASPECT_TOLERANCE:
        raise StvmError(
            f"{path}: label is {ids.shape[1]}x{ids.shape[0]} (width x height) but its image "
            f"{image_path} is {width}x{height}; take both as they were published"
        )
    return ids


def _resized(image: Image.Image, size: Size, resampling: Image.Resampling) -> Image.Image:
    wanted = (size[1], size[0])
    return image if image.size == wanted else image.resize(wanted, resampling)
