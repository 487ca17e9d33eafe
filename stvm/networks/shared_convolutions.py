"""Convolutions that two passes share, computed once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn


@contextmanager
def share_convolutions(network: nn.Module, features: Tensor) -> Iterator[None]:
    """Within the block each convolution of `features` is computed once for all passes.

    A pass in training mode and one in eval mode differ only at batch norm and dropout, behind the
    first convolutions. In DeepLabV3's head these are nine tenths of the work. No weight may change
    in the block.

    Args:
        network: Head that takes `features`.
        features: Features (N, D, h, w); convolutions of other tensors are computed as usual.
    """
    made: dict[nn.Module, tuple[Tensor, int]] = {}

    def once(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
        result, version = made.get(convolution, (None, 0))
        # A result that was changed in place since is not used again.
        if maps is not features or result is None or result._version != version:
            result = nn.Conv2d.forward(convolution, maps)
            if maps is features:
                made[convolution] = result, result._version
        return result

    convolutions = [m for m in network.modules() if type(m) is nn.Conv2d]
    for convolution in convolutions:
        convolution.forward = partial(once, convolution)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for convolution in convolutions:
            del convolution.forward
