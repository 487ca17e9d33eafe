"""Several maps of one pass as one tensor, for classifiers that take more than one map.

The output of F is one tensor for every network: the metric network reads it, and so do wrapped
passes and the memory estimate. Smaller maps are repeated to the size of the largest. The classifier
takes every repeated value once, so that nothing is lost and no value changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stvm.errors import StvmError


@dataclass(frozen=True)
class Packing:
    """How maps stand in one tensor.

    Attributes:
        channels: Number of channels of each map, the largest map first.
        strides: Stride of each map over that of the first.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def pack(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, D_i, h_i, w_i) -> one tensor (N, D_1 + D_2 + ..., h_1, w_1).

        Raises:
            StvmError: A map does not have the size that its stride says.
        """
        height, width = maps[0].shape[-2:]
        return torch.cat(
            [_repeated(m, s, height, width) for m, s in zip(maps, self.strides, strict=True)], 1
        )

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The maps that `pack` was given."""
        parts = packed.split(self.channels, 1)
        return [part[..., ::s, ::s] for part, s in zip(parts, self.strides, strict=True)]


def _repeated(maps: Tensor, stride: int, height: int, width: int) -> Tensor:
    if stride == 1:
        return maps
    number, channels, rows, columns = maps.shape
    if (rows, columns) != (-(-height // stride), -(-width // stride)):
        raise StvmError(
            f"a map of {rows}x{columns} is none of stride {stride} beside one of {height}x{width}: "
            "use another image size, such as a multiple of 32"
        )
    wide = maps[:, :, :, None, :, None].expand(-1, -1, -1, stride, -1, stride)
    return wide.reshape(number, channels, rows * stride, columns * stride)[..., :height, :width]
