"""Counts the memory of tensors: all that live, or those that a backward pass needs.

Fake tensors have sizes but no contents, so a large network can be counted on a small machine.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode_stack,
)
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Module = TypeVar("Module", bound=nn.Module)


class MemoryMeter(TorchDispatchMode):
    """Counts the memory of all tensors created in the block.

    Attributes:
        now: Bytes of the tensors that still live.
        peak: Largest value of `now` so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs))}
        self.count(t for t in _tensors(result) if t.untyped_storage()._cdata not in given)
        return result

    def count(self, tensors: Iterable[Tensor]) -> None:
        """Counts the memory of these tensors from now until they are freed."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen[storage] = True
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.now -= size


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of these tensors; memory that several of them share counts once."""
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


@contextmanager
def counting_saved(kept: Iterable[Tensor]) -> Iterator[MemoryMeter]:
    """Counts the memory that forward passes in the block save for their backward passes.

    Args:
        kept: Parameters and buffers, which are in memory anyway and are left out.
    """
    own = {t.untyped_storage()._cdata for t in kept}
    saved = MemoryMeter()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            saved.count([tensor])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def values_of(*modules: nn.Module) -> list[Tensor]:
    """Parameters and buffers of the modules."""
    return [t for module in modules for t in (*module.parameters(), *module.buffers())]


def state_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Tensors that an optimiser keeps from one step to the next."""
    return [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)]


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Gradients that stay in memory until the next backward pass."""
    groups = (p for group in optimizer.param_groups for p in group["params"])
    return [p.grad for p in groups if p.grad is not None]


def built_real(make: Callable[[], Module]) -> Module:
    """A module built on real tensors within `fake_tensors`, whose values are fake afterwards."""
    (mode,) = [m for m in _get_current_dispatch_mode_stack() if isinstance(m, FakeTensorMode)]
    with unset_fake_temporarily():
        module = make()
        module._apply(mode.from_tensor)  # type: ignore[no-untyped-call]
    return module


@contextmanager
def fake_tensors() -> Iterator[FakeTensorMode]:
    """Makes tensors created in the block fake: they have sizes and no contents.

    Modules can be moved and copied as usual, which torch alone refuses for fake tensors.
    """

    def apply(
        module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> nn.Module:
        for child in module.children() if recurse else []:
            apply(child, function)
        for name, value in module._parameters.items():
            if value is not None:
                moved = nn.Parameter(function(value.detach()), value.requires_grad)
                module._parameters[name] = moved
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else function(buffer)
        return module

    def copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
        value = tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            value = nn.Parameter(value, tensor.requires_grad)
        memo[id(tensor)] = value
        return value

    with (
        mock.patch.object(nn.Module, "_apply", apply),
        mock.patch.object(FakeTensor, "__deepcopy__", copied, create=True),
        torch.random.fork_rng([]),
        FakeTensorMode() as mode,
    ):
        yield mode
