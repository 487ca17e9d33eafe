"""How many whole images a pass takes, and images as networks take them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stvm.data.image_files import Uint8Array

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
