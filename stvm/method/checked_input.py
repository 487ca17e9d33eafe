"""Tensors and choices that callers of the library give, checked before anything is computed.

Shapes, types and names are known on the CPU, so a check does not wait for a GPU.
"""

from collections.abc import Iterable
from typing import Any, get_args

import torch
from torch import Tensor

from stvm.errors import StvmError, unknown


def check_choice(where: str, name: str, value: str, choices: Any) -> None:
    """Check an argument that has a few names as values.

    Args:
        where: Name of the caller, for the message.
        name: Name of the argument.
        value: Value that was given.
        choices: `Literal` of the values that are allowed.

    Raises:
        StvmError: The value is none of them.
    """
    if value not in get_args(choices):
        raise unknown(f"{where} {name}", str(value), get_args(choices))


def check_images(where: str, images: Tensor) -> None:
    """Check that images are numbers in [0, 1] and not bytes, and that they are a batch.

    Args:
        where: Name of the caller, for the message.
        images: Images, (N, K, H, W).

    Raises:
        StvmError: They are not.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        form = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise StvmError(f"{where}: images are {form}: give one tensor (N, 3, H, W)")
    if not images.is_floating_point():
        raise StvmError(
            f"{where}: images are {images.dtype}: give numbers in [0, 1], for bytes "
            "images.float() / 255"
        )


def check_maps(where: str, images: Tensor, maps: Iterable[Tensor]) -> None:
    """Check images, and that each map has one value for each of their pixels.

    Args:
        where: Name of the caller, for the message.
        images: Images, (N, K, H, W).
        maps: Labels, reliability or distances, (N, H, W) each.

    Raises:
        StvmError: They do not fit.
    """
    check_images(where, images)
    wanted = torch.Size((images.shape[0], *images.shape[2:]))
    for values in maps:
        if values.shape != wanted:
            raise StvmError(
                f"{where}: images {tuple(images.shape)} and a map {tuple(values.shape)}: give "
                f"labels, reliability and distances as {tuple(wanted)}"
            )
