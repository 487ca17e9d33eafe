"""Batches of whole images: how many one pass takes, and their conversion to tensors."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stvm.data.image_files import Uint8Array
from stvm.data.images import Images

BATCH = 8
PIXELS = 1024 * 2048
"""Most pixels per pass: their scores for 19 classes take 160 MB, several times over."""


def batch_size(pixels: int) -> int:
    """Images per pass, at least 1 and at most 8.

    Args:
        pixels: Pixels of one image, or of its labels if they are larger.
    """
    return max(1, min(BATCH, PIXELS // pixels))


def as_input(images: Sequence[Uint8Array], device: torch.device) -> Tensor:
    """RGB images (H, W, 3) as (N, 3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.stack(images)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 255


def full_batches(images: Images, device: torch.device, size: int = BATCH) -> Iterator[Tensor]:
    """Batches (N, 3, H, W) in [0, 1] of equal size, in the order of the images.

    Args:
        images: Images of one size. The last ones are left out if they do not fill a batch.
        device: Device of the batches.
        size: Number of images in a batch; all images are one batch if there are fewer.
    """
    count = len(images)
    for start in range(0, count - count % size or count, size):
        rows = range(start, min(start + size, count))
        yield as_input([images.image(row) for row in rows], device)
