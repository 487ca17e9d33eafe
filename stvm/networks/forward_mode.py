"""How networks pass images: weight order, precision and compilation of a forward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from stvm.networks.segmentation_network import SegmentationNetwork, upsample

BACKEND = "inductor"
"""Of torch.compile."""


Pass = Callable[[Tensor], Tensor]


Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class ForwardMode:
    """How the networks of a training pass images and features.

    Attributes:
        channels_last: weights and maps are stored with the channels last.
        compile: torch.compile is used.
        precision: type of numbers within a pass; "bfloat16" is autocast, others are as they are.
    """

    channels_last: bool = False
    compile: bool = False
    precision: str = "float32"

    def prepare(self, module: Module) -> Module:
        """The module, its weights in the order asked for."""
        if self.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.channels_last or self.compile:
            for child in module.modules():
                if isinstance(child, nn.Conv2d) and _overruns(child):
                    _stride_before(child)
        return module

    def wrap(self, function: Pass, compiled: bool = True) -> Pass:
        """A pass (N, K, h, w) -> (N, L, h, w); a module's state dict keeps its keys.

        Args:
            function: a module, or a method of one.
            compiled: may be; not where hooks come and go, which compiled code does not look for.
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
"""Passes of the default settings: functions themselves."""


_BLOCK = 16
"""Channels that oneDNN takes at a time, where the processor has the widest registers."""


def _overruns(convolution: nn.Conv2d) -> bool:
    """oneDNN would write past its memory in the backward pass, and the process would crash.

    On the CPU, in channels-last order, which torch.compile chooses too: of a 1x1 convolution with
    a stride and less than a block of input channels (oneDNN's issue 6035).
    """
    return (
        convolution.weight.device.type == "cpu"
        and convolution.kernel_size == (1, 1)
        and convolution.stride != (1, 1)
        and convolution.padding == (0, 0)
        and convolution.in_channels < _BLOCK
    )


def _stride_before(convolution: nn.Conv2d) -> None:
    """Leave out the pixels that the stride skips before the convolution, which then has none."""
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
