"""Blocks of ESPNetv2's encoder (Mehta et al. 2019): units of depthwise dilated convolutions.

The names of the modules are those of the public files, so that their keys fit.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BRANCHES = 4
"""Parallel dilated convolutions of a unit, K."""
REINFORCED = 3
"""Channels between the two convolutions of the shortcut from the image."""


def dilations(largest_field: int) -> list[int]:
    """Dilations of a unit's convolutions, in ascending order.

    Branch k would see 3 + 2k pixels; a branch that would see more than `largest_field` is a plain
    3x3 convolution.

    Args:
        largest_field: Largest receptive field of a branch, in pixels of its input.
    """
    fields = (3 + 2 * branch for branch in range(BRANCHES))
    return sorted((field - 1) // 2 if field <= largest_field else 1 for field in fields)


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Convolution and batch norm, (N, inputs, h, w) -> (N, outputs, h / stride, w / stride)."""
    return nn.Sequential(OrderedDict(_conv_norm(inputs, outputs, kernel, stride, groups)))


def conv_norm_act(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Convolution, batch norm and PReLU, (N, inputs, h, w) -> (N, outputs, h / s, w / s)."""
    layers = _conv_norm(inputs, outputs, kernel, stride, groups)
    return nn.Sequential(OrderedDict(layers | {"act": nn.PReLU(outputs)}))


def _conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int
) -> dict[str, nn.Module]:
    convolution = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return {"conv": convolution, "bn": nn.BatchNorm2d(outputs)}


class EespUnit(nn.Module):
    """Extremely efficient spatial pyramid: reduce, split, transform and merge.

    A grouped 1x1 convolution reduces the channels to a quarter; four depthwise convolutions with
    growing dilation see the result, and each adds the sum of the ones before it; a grouped 1x1
    convolution merges them.

    Args:
        inputs: Number of channels of the input.
        outputs: Number of channels of the output, a multiple of 4.
        largest_field: Largest receptive field of a branch, in pixels of its input.
        stride: 1, with a shortcut around the unit, or 2, without shortcut and activation. At stride
            2 `module_act` has weights that nothing uses, as in the public files.
    """

    def __init__(self, inputs: int, outputs: int, largest_field: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        inner = outputs // BRANCHES
        self.proj_1x1 = conv_norm_act(inputs, inner, 1, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=_depthwise(inner, stride, dilation)))
            for dilation in dilations(largest_field)
        )
        self.conv_1x1_exp = conv_norm(outputs, outputs, 1, groups=BRANCHES)
        self.br_after_cat = nn.Sequential(
            OrderedDict(bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs))
        )
        self.module_act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h / stride, w / stride)."""
        reduced = self.proj_1x1(x)
        sums = [self.spp_dw[0](reduced)]
        for branch in self.spp_dw[1:]:
            sums.append(branch(reduced) + sums[-1])
        merged: Tensor = self.conv_1x1_exp(self.br_after_cat(torch.cat(sums, 1)))
        if self.stride != 1:
            return merged
        activated: Tensor = self.module_act(merged + x)
        return activated


def _depthwise(channels: int, stride: int, dilation: int) -> nn.Module:
    return nn.Conv2d(
        *(channels, channels, 3, stride),
        padding=dilation,
        dilation=dilation,
        groups=channels,
        bias=False,
    )


def halved(maps: Tensor) -> Tensor:
    """Means over 3x3 pixels at every second pixel, (N, K, h, w) -> (N, K, h / 2, w / 2)."""
    return F.avg_pool2d(maps, 3, stride=2, padding=1)


class DownSampler(nn.Module):
    """Halves the resolution: means and a unit side by side, plus a shortcut from the image.

    Args:
        inputs: Number of channels of the input.
        outputs: Number of channels of the output.
        largest_field: Largest receptive field of a branch of the unit.
    """

    def __init__(self, inputs: int, outputs: int, largest_field: int) -> None:
        super().__init__()
        self.eesp = EespUnit(inputs, outputs - inputs, largest_field, stride=2)
        self.inp_reinf = nn.Sequential(
            conv_norm_act(3, REINFORCED, 3), conv_norm(REINFORCED, outputs, 1)
        )
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h / 2, w / 2).

        Args:
            x: Maps.
            image: Normalised image at the size of the output, (N, 3, h / 2, w / 2).
        """
        joined = torch.cat([halved(x), self.eesp(x)], 1)
        activated: Tensor = self.act(joined + self.inp_reinf(image))
        return activated
