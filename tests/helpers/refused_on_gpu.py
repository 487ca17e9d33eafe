"""What torch refuses on a GPU in deterministic mode, refused on the CPU: contents are real here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._decomp.decompositions import _upsample_linear_vec
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

Condition = Callable[[dict[str, Any]], bool]


def _always(given: dict[str, Any]) -> bool:
    return True


def _averages(given: dict[str, Any]) -> bool:
    return bool(given["reduction"] != 0)


def _weighs(given: dict[str, Any]) -> bool:
    return given["weights"] is not None


def _multiplies(given: dict[str, Any]) -> bool:
    return bool(given["reduce"] == "prod")


def _floats(given: dict[str, Any]) -> bool:
    return bool(given["self"].is_floating_point())


REFUSED: dict[str, dict[str, Condition]] = {
    # name in torch's documentation: operators, and when they are refused
    "AvgPool3d": {"avg_pool3d_backward": _always},
    "AdaptiveAvgPool2d": {"_adaptive_avg_pool2d_backward": _always},
    "AdaptiveAvgPool3d": {"_adaptive_avg_pool3d_backward": _always},
    "AdaptiveMaxPool2d": {"adaptive_max_pool2d_backward": _always},
    "FractionalMaxPool2d": {"fractional_max_pool2d_backward": _always},
    "FractionalMaxPool3d": {"fractional_max_pool3d_backward": _always},
    "MaxPool3d": {"max_pool3d_with_indices_backward": _always},
    "MaxUnpool1d": {"max_unpool2d": _always},
    "MaxUnpool2d": {"max_unpool2d": _always},
    "MaxUnpool3d": {"max_unpool3d": _always},
    "interpolate": {
        "upsample_linear1d_backward": _always,
        "upsample_bilinear2d_backward": _always,
        "_upsample_bilinear2d_aa_backward": _always,
        "upsample_bicubic2d_backward": _always,
        "_upsample_bicubic2d_aa_backward": _always,
        "upsample_trilinear3d_backward": _always,
    },
    "ReflectionPad1d": {"reflection_pad1d_backward": _always},
    "ReflectionPad2d": {"reflection_pad2d_backward": _always},
    "ReflectionPad3d": {"reflection_pad3d_backward": _always},
    "ReplicationPad1d": {"replication_pad1d_backward": _always},
    "ReplicationPad2d": {"replication_pad2d_backward": _always},
    "ReplicationPad3d": {"replication_pad3d_backward": _always},
    "NLLLoss": {"nll_loss2d_forward": _averages},
    "CTCLoss": {"_ctc_loss_backward": _always},
    "EmbeddingBag": {"_embedding_bag_dense_backward": _always},
    "put_": {"put_": _always, "put": _always},
    "histc": {"histc": _always},
    "bincount": {"bincount": _weighs},
    "kthvalue": {"kthvalue": _always},
    "median": {"median.dim": _always, "nanmedian.dim": _always},
    "grid_sample": {"grid_sampler_2d_backward": _always, "grid_sampler_3d_backward": _always},
    "cumsum": {"cumsum": _floats},
    "scatter_reduce": {"scatter_reduce": _multiplies, "scatter_reduce_": _multiplies},
    "index_reduce": {"index_reduce": _always, "index_reduce_": _always},
    "resize_": {},
}
"""Of every torch from 2.6 on. Of quantised tensors, which `resize_` is refused for, there are
none here; `index_reduce` is refused and not documented."""

OPERATORS = {name: when for found in REFUSED.values() for name, when in found.items()}


class Refusing(TorchDispatchMode):
    """Raises where a GPU would, forward and backward, while deterministic mode is on.

    Attributes:
        passed: names of the operators that ran in deterministic mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if torch.are_deterministic_algorithms_enabled():
            name = func._schema.name.removeprefix("aten::")
            when = OPERATORS.get(f"{name}.{func._overloadname}") or OPERATORS.get(name)
            if when and when(_named(func, args, given)):
                raise RuntimeError(f"{name} does not have a deterministic implementation")
            self.passed.add(name)
        return func(*args, **given)


def _named(func: Any, args: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an operator by name."""
    named = {argument.name: argument.default_value for argument in func._schema.arguments}
    return named | dict(zip(named, args, strict=False)) | given


def _interpolate(maps: Tensor, size: Any = None, **given: Any) -> Tensor:
    """torch's own way round on a GPU: it goes by the device, which here is the CPU."""
    mode, smooth = given.get("mode"), given.get("antialias", False)
    if torch.are_deterministic_algorithms_enabled() and mode == "bilinear" and not smooth:
        found: Tensor = _upsample_linear_vec(maps, list(size), given.get("align_corners"), None)
        return found
    return _REAL(maps, size, **given)


_REAL: Callable[..., Tensor] = F.interpolate


@contextmanager
def refusing() -> Iterator[Refusing]:
    """In the block the CPU refuses what a GPU does, and takes the ways that a GPU takes."""
    with (
        mock.patch.object(F, "interpolate", _interpolate),
        mock.patch(
            "stvm.source_model.labelled_loss.must_repeat",
            lambda device: torch.are_deterministic_algorithms_enabled(),
        ),
        Refusing() as mode,
    ):
        yield mode
