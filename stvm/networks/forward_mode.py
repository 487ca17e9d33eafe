"""Forward modes: memory order, precision and compilation of a forward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from stvm.networks.segmentation_network import SegmentationNetwork, upsample

BACKEND = "inductor"
"""Backend of torch.compile."""


Pass = Callable[[Tensor], Tensor]


Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class ForwardMode:
    """Memory order, compilation and precision of all forward passes of a training.

    Attributes:
        channels_last: Whether weights and maps are stored with the channels last.
        compile: Whether torch.compile is used.
        precision: Type of numbers within a pass; "bfloat16" uses autocast, other values change
            nothing.
    """

    channels_last: bool = False
    compile: bool = False
    precision: str = "float32"

    def prepare(self, module: Module) -> Module:
        """The module with its weights in the memory order of this mode, changed in place."""
        if self.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.channels_last or self.compile:
            for child in module.modules():
                if isinstance(child, nn.Conv2d) and _overruns(child):
                    _stride_before(child)
        return module

    def wrap(self, function: Pass, compiled: bool = True) -> Pass:
        """A pass (N, K, h, w) -> (N, L, h, w) in this mode; a state dict keeps its keys.

        Args:
            function: Module, or method of a module.
            compiled: Whether it may be compiled; compiled code does not notice hooks that are
                added or removed later.
        """
        if self.compile and compiled:
            function = torch.compile(function, backend=BACKEND)
        if self.channels_last:
            function = _in_channels_last(function)
        if self.precision == "bfloat16":
            function = _in_bfloat16(function)
        return function

    def predict(self, network: SegmentationNetwork) -> Pass:
        """Images (N, 3, H, W) in [0, 1] -> logits (N, C, H, W), enlarged in float32."""
        logits = self.wrap(network.logits)
        if logits == network.logits:
            return network

        def predict(images: Tensor) -> Tensor:
            return upsample(logits(images), (images.shape[-2], images.shape[-1]))

        return predict


DEFAULT_FORWARD = ForwardMode()
"""Mode of the default settings: every function is used as it is."""


_BLOCK = 16
"""Channels that oneDNN takes at a time on processors with the widest registers."""


def _overruns(convolution: nn.Conv2d) -> bool:
    """Whether oneDNN writes past its memory in the backward pass, which crashes the process.

    This happens on the CPU in channels-last order, which torch.compile chooses too, for a 1x1
    convolution with a stride and fewer input channels than a block (oneDNN's issue 6035).
    """
    return (
        convolution.weight.device.type == "cpu"
        and convolution.kernel_size == (1, 1)
        and convolution.stride != (1, 1)
        and convolution.padding == (0, 0)
        and convolution.in_channels < _BLOCK
    )


def _stride_before(convolution: nn.Conv2d) -> None:
    """Drop the pixels that the stride skips before the convolution, and set its stride to 1."""
    rows, columns = convolution.stride
    convolution.stride = (1, 1)
    convolution.register_forward_pre_hook(lambda _, given: (given[0][..., ::rows, ::columns],))


def _in_channels_last(function: Pass) -> Pass:
    return lambda maps: function(maps.contiguous(memory_format=torch.channels_last))


def _in_bfloat16(function: Pass) -> Pass:
    def run(maps: Tensor) -> Tensor:
        with torch.autocast(maps.device.type, torch.bfloat16):
            result = function(maps)
        return result.float()

    return run
