"""Efficient pyramid pooling, the decoder's block of ESPNetv2 (Mehta et al. 2019).

The names of the modules are those of the public files, so that their keys fit.
"""

import math
from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
"""Sizes at which a block looks at its input, relative to the input."""
_LEAST = 5
"""Smallest height or width of a resized map."""


def decoder_layer(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Module:
    """Convolution, batch norm and PReLU under the names of the decoder's files."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(cbr=nn.Sequential(convolution, *_norm_act(outputs))))


def _norm_act(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.PReLU(channels)


def _norm_act_layer(channels: int) -> nn.Module:
    return nn.Sequential(OrderedDict(br=nn.Sequential(*_norm_act(channels))))


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear maps (N, K, h, w) -> (N, K, H, W), corners aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Means of maps (N, K, h, w) -> (N, K, H, W), as `F.adaptive_avg_pool2d` takes them.

    The gradient of torch's function does not repeat on a GPU, and ONNX has no such function for
    sizes that are left open. Where operations have to repeat, two products of matrices take its
    place.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(maps, size)
    rows, columns = _means(maps.shape[-2], size[0], maps), _means(maps.shape[-1], size[1], maps)
    return rows @ maps @ columns.T


def _means(length: int, parts: int, like: Tensor) -> Tensor:
    """Matrix (parts, length) of the means over the overlapping parts of a line."""
    places, number = (torch.arange(n, device=like.device) for n in (length, parts))
    first = number * length // parts
    behind = ((number + 1) * length + parts - 1) // parts
    inside = (places >= first[:, None]) & (places < behind[:, None])
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)


class LeadingOutputs(nn.Conv2d):
    """A 1x1 convolution that computes its first outputs alone; the others keep their weights.

    Args:
        inputs: Number of channels of the input.
        outputs: Number of outputs that are computed.
        idle: Number of further outputs.
    """

    def __init__(self, inputs: int, outputs: int, idle: int) -> None:
        super().__init__(inputs, outputs + idle, 1)
        self.used = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        assert self.bias is not None
        return F.conv2d(x, self.weight[: self.used], self.bias[: self.used])


class PyramidPooling(nn.Module):
    """Depthwise convolutions of the projected input at five sizes, merged at the input's size.

    Args:
        inputs: Number of channels of the input.
        projection: Number of channels of each of the five maps.
        outputs: Number of channels of the output.
        last: Whether this is the last layer, which has a bias and neither batch norm nor PReLU.
        idle: Number of further outputs of the last layer that have weights and are not computed.
    """

    def __init__(
        self, inputs: int, projection: int, outputs: int, last: bool = False, idle: int = 0
    ) -> None:
        super().__init__()
        joined = projection * len(SCALES)
        self.projection_layer = decoder_layer(inputs, projection, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(projection, projection, 3, padding=1, groups=projection, bias=False)
            for _ in SCALES
        )
        self.merge_layer = nn.Sequential(
            _norm_act_layer(joined),
            nn.ChannelShuffle(len(SCALES)),
            decoder_layer(joined, projection, 3, groups=projection),
            LeadingOutputs(projection, outputs, idle)
            if idle
            else nn.Conv2d(projection, outputs, 1, bias=last),
        )
        self.br = nn.Identity() if last else _norm_act_layer(outputs)
        self.apply(draw_weights)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        projected = self.projection_layer(x)
        maps = [
            _at_scale(stage, projected, scale)
            for stage, scale in zip(self.stages, SCALES, strict=True)
        ]
        merged: Tensor = self.br(self.merge_layer(torch.cat(maps, 1)))
        return merged


def _at_scale(stage: nn.Module, maps: Tensor, scale: float) -> Tensor:
    """The stage's output for resized maps, brought back to the size of `maps`."""
    size = maps.shape[-2], maps.shape[-1]
    other = _scaled(size[0], scale), _scaled(size[1], scale)
    if scale < 1:
        return enlarged(stage(pooled(maps, other)), size)
    if scale > 1:
        return pooled(stage(enlarged(maps, other)), size)
    result: Tensor = stage(maps)
    return result


def _scaled(length: int, scale: float) -> int:
    # Python's max would fix a length that an export leaves open.
    return cast(int, torch.sym_max(math.ceil(length * scale), _LEAST))


def draw_weights(module: nn.Module) -> None:
    """Normal draws for a convolution, with the deviation of He et al. 2015 for its outputs."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
