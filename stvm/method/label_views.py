"""Several views of the same images, whose predictions are averaged into one pseudo-label."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.networks import upsample

Views = Literal["single", "mirrored", "scales"]
SCALES = (0.75, 1.25)
"""Scales of `scales` beside the images as they are."""


def average_views(
    logits: Tensor, images: Tensor, views: Views, scores_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """Log of the mean softmax over the views of some images, (N, C, H, W).

    Args:
        logits: Scores of the images as they are, (N, C, H, W).
        images: Images in [0, 1] as the network saw them, (N, 3, H', W').
        views: "mirrored" adds the mirror image; "scales" also adds the image at 0.75 and 1.25 of
            its size, each with its mirror image; "single" adds none.
        scores_of: Function from images (N, 3, H, W) to scores (N, C, h, w).
    """
    if views == "single":
        return F.log_softmax(logits, dim=1)
    size = (logits.shape[-2], logits.shape[-1])
    seen = [images, *(resized(images, scale) for scale in SCALES if views == "scales")]
    total = F.log_softmax(logits, dim=1)
    for number, view in enumerate(seen):
        if number:
            total = torch.logaddexp(total, _log_shares(scores_of(view), size))
        mirrored = scores_of(view.flip(-1)).flip(-1)
        total = torch.logaddexp(total, _log_shares(mirrored, size))
    return total - math.log(2 * len(seen))


def resized(images: Tensor, scale: float) -> Tensor:
    """Bilinear images of `scale` times the height and width; the images themselves at 1."""
    if scale == 1:
        return images
    height, width = images.shape[-2:]
    return upsample(images, _scaled((height, width), scale))


def seen_sizes(size: tuple[int, int], views: Views, scale: float) -> list[tuple[int, int]]:
    """Sizes at which a labelling network sees images.

    Args:
        size: Height and width of the images.
        views: Views of each image, see `average_views`.
        scale: Size of the first view, relative to that of the images.
    """
    first = _scaled(size, scale)
    return [first, *(_scaled(first, more) for more in SCALES if views == "scales")]


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _log_shares(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.log_softmax(upsample(scores, size), dim=1)
