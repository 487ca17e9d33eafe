"""How many whole images a pass takes, and images as networks take them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stvm.data.image_files import Uint8Array
from stvm.data.images import Images

BATCH = 8
PIXELS = 1024 * 2048
"""Most pixels a pass: 19 float32 scores of each are 160 MB, of which a few are alive at a time."""


def batch_size(pixels: int) -> int:
    """Images a pass, at most 8 and at least one.

    Args:
        pixels: of one image, or of its labels where these are larger.
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
