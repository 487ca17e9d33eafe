"""A GPU that is not there: fake CUDA tensors, what they are said to hold, and a backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from stvm.memory.tensors import fake_tensors

GPU = torch.device("cuda:0")
SELECTED = 40
"""Pixels that are metric pseudo-labels."""


class Contents:
    """What the step reads of tensors that have no contents."""

    def __init__(self, size: int) -> None:
        self.size = size

    def tolist(self, tensor: Tensor) -> list[Any]:
        """Drawn shares; numbers of pixels or places in a draw; or regions to bank, by shape."""
        if tensor.is_floating_point():
            return [0.25] * len(tensor)
        if tensor.dim() == 1:
            return list(range(len(tensor)))
        whole = [0, self.size - 1, 0, self.size - 1, self.size**2, 1]
        return [[region, *whole] for region in range(len(tensor))]

    def nonzero(self, tensor: Tensor, as_tuple: bool = False) -> Any:
        """As many places as pixels are selected, or every region."""
        count = SELECTED if as_tuple else len(tensor)
        places = [tensor.new_zeros(count, dtype=torch.long) for _ in range(tensor.dim())]
        return tuple(places) if as_tuple else torch.stack(places, 1)

    def bincount(self, tensor: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
        """A number for each class."""
        if weights is None:
            return tensor.new_zeros(minlength, dtype=torch.long)
        return (weights + tensor).new_zeros(minlength)


@torch.no_grad()
def backward(loss: Tensor) -> None:
    """The backward pass node by node: every formula runs, and autograd's engine does not.

    The engine asks the CUDA driver for streams, and fails where there is none. What it does
    besides is done here: gradients are added up, and reduced to shape and type of the input.
    """
    given: dict[Any, list[Any]] = {loss.grad_fn: [torch.ones_like(loss)]}
    for node in _in_order(loss.grad_fn):
        gradients = given.pop(node, None)
        if gradients is None:
            continue
        if hasattr(node, "variable"):
            before = node.variable.grad
            node.variable.grad = gradients[0] if before is None else before + gradients[0]
            continue
        results = node(*gradients)
        results = results if isinstance(results, tuple) else (results,)
        for (following, place), result in zip(node.next_functions, results, strict=True):
            if following is None or result is None:
                continue
            wanted = following._input_metadata[place]
            result = result.sum_to_size(wanted.shape).to(wanted.dtype)
            assert result.device == wanted.device, f"device of a gradient of {following}"
            slots = given.setdefault(following, [None] * len(following._input_metadata))
            slots[place] = result if slots[place] is None else slots[place] + result


def _in_order(root: Any) -> list[Any]:
    """Nodes of a graph, each before those that follow it."""
    order: list[Any] = []
    met: set[Any] = set()
    stack = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in met:
            met.add(node)
            stack.append((node, True))
            stack += [(n, False) for n, _ in node.next_functions if n is not None]
    return order[::-1]


@contextmanager
def fake_gpu(size: int) -> Iterator[None]:
    """Tensors are fake in the block; images are `size` pixels high and wide."""
    contents = Contents(size)
    with (
        fake_tensors(),
        mock.patch.object(FakeTensor, "tolist", lambda t: contents.tolist(t)),
        mock.patch.object(FakeTensor, "nonzero", lambda t, **k: contents.nonzero(t, **k)),
        mock.patch.object(torch, "bincount", contents.bincount),
        mock.patch.object(Tensor, "backward", backward),
    ):
        yield
