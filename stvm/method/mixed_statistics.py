"""Batch norms that keep a share of the source model's statistics while they train.

Sources for statistics between those of the source and those of the target: alpha-BN (You et al.
2021), UBNA (Klingner et al. 2022), DIGA (Wang et al. 2023).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.errors import StvmError

BatchNorm = nn.BatchNorm2d | nn.SyncBatchNorm


def batch_norms(network: nn.Module) -> list[BatchNorm]:
    """All batch norms of a network that keep running statistics."""
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    return [m for m in network.modules() if isinstance(m, kinds) and m.running_mean is not None]


class _Statistics(torch.autograd.Function):
    """Mean and biased variance of each channel, (K,), of maps (N, K, h, w).

    On the CPU `torch.var_mean` takes longer than a whole batch norm with its backward pass, and
    autograd would keep another copy of the maps for it.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        mean = maps.mean((0, 2, 3), dtype=dtype)
        variance = (maps - mean[:, None, None]).square_().mean((0, 2, 3))
        ctx.save_for_backward(maps, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> tuple[Tensor, None]:
        maps, mean = ctx.saved_tensors
        count = maps.numel() // maps.shape[1]
        slope = 2 * of_variance / count
        constant = of_mean / count - slope * mean
        slope, constant = slope[:, None, None], constant[:, None, None]
        return torch.addcmul(constant, maps.to(mean.dtype), slope).to(maps.dtype), None


class MixedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose training mode mixes the batch's statistics into fixed ones.

    Mean and variance are each `share` of the way from the fixed ones to those of the batch, and so
    are the running statistics, which follow them. The gradient passes through the batch's part.
    Eval mode and the keys of a state dict are those of `nn.BatchNorm2d`. `mix_statistics` makes
    them.

    Attributes:
        share: Share of the batch, in [0, 1].
        fixed_mean: Fixed mean of each channel, (K,).
        fixed_variance: Fixed variance of each channel, (K,).
    """

    share: float
    fixed_mean: Tensor
    fixed_variance: Tensor

    def mixed(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance, both (K,), that are the share of the way to the given ones."""
        return (
            self.fixed_mean.lerp(mean, self.share),
            self.fixed_variance.lerp(variance, self.share),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, K, h, w) -> normalised maps (N, K, h, w).

        Raises:
            StvmError: In training mode, a single value of each channel.
        """
        if not self.training:
            return super().forward(input)
        mean, variance = self._statistics(input)
        spread = (variance + self.eps).sqrt()
        # A kernel of batch norm gives no gradient to statistics. They get it from a factor that
        # equals 1 and a summand that equals 0.
        factor, summand = spread.detach() / spread, (mean.detach() - mean) / spread
        mean, variance = mean.detach(), variance.detach()
        if type(self) is not MixedBatchNorm:
            summand = summand * spread.detach() + mean * (1 - factor)
            factor, summand = factor.to(input.dtype), summand.to(input.dtype)
            maps = input * factor[:, None, None] + summand[:, None, None]
            return self._with_statistics(maps, mean, variance)
        weight, bias = factor, summand
        if self.affine:
            weight, bias = self.weight * factor, self.bias + self.weight * summand
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, self.eps)

    def _statistics(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance, both (K,), that normalise maps; the running ones follow them."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.share == 0:
            return self.fixed_mean, self.fixed_variance
        refuse_one_value(maps)
        mean, variance = _Statistics.apply(maps, self.fixed_mean.dtype)
        self._follow(mean.detach(), variance.detach(), maps.numel() // maps.shape[1])
        return self.mixed(mean, variance)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics; `variance` is the biased one of `count` values."""
        assert self.running_mean is not None and self.running_var is not None
        rate: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.momentum is None and self.num_batches_tracked is not None:
            rate = 1 / self.num_batches_tracked.to(mean.dtype)
        mean, variance = self.mixed(mean, variance * (count / (count - 1)))
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance, rate)

    def _with_statistics(self, maps: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Output of the kind that this norm had before, in eval mode with given statistics."""
        kept = self.running_mean, self.running_var
        self.running_mean, self.running_var, self.training = mean, variance, False
        try:
            return super().forward(maps)
        finally:
            self.running_mean, self.running_var = kept
            self.training = True


def mix_statistics(network: nn.Module, source: nn.Module, share: float) -> None:
    """Make the batch norms of a network keep a share of the source model's statistics, in place.

    In training mode they then normalise with statistics `share` of the way from the source model's
    to those of the batch. Weights, running statistics and the keys of the state dict stay. With a
    share of 1 they are ordinary batch norms, and nothing is changed.

    Args:
        network: A copy of `source`; its running statistics may be others.
        source: Source model; it is only read.
        share: Share of the batch, in [0, 1].

    Raises:
        StvmError: The network has no batch norm with running statistics, or it has one whose
            statistics several processes share.
    """
    norms = batch_norms(network)
    if not norms:
        raise StvmError(
            f"mix_statistics: {type(network).__name__} has no nn.BatchNorm2d with running "
            "statistics: there is nothing to mix"
        )
    if any(isinstance(norm, nn.SyncBatchNorm) for norm in norms):
        raise StvmError(
            "mix_statistics: an nn.SyncBatchNorm takes its statistics from all processes, and a "
            "share of them is not supported: use nn.BatchNorm2d"
        )
    if share == 1:
        return
    for norm, kept in zip(norms, batch_norms(source), strict=True):
        if not isinstance(norm, MixedBatchNorm):
            norm.__class__ = _mixed_kind(type(norm))
        assert isinstance(norm, MixedBatchNorm)
        norm.share = share
        for name, given in (("mean", kept.running_mean), ("variance", kept.running_var)):
            assert given is not None
            norm.register_buffer(f"fixed_{name}", given.detach().clone(), persistent=False)


def plain_statistics(network: nn.Module) -> None:
    """Make each `MixedBatchNorm` of a network the batch norm that it was before, in place."""
    for norm in batch_norms(network):
        if isinstance(norm, MixedBatchNorm):
            for name in ("share", "fixed_mean", "fixed_variance"):
                delattr(norm, name)
            own = type(norm) is MixedBatchNorm
            norm.__class__ = nn.BatchNorm2d if own else type(norm).__bases__[1]


def _mixed_kind(kind: type[nn.Module]) -> type[MixedBatchNorm]:
    """`MixedBatchNorm` with the rest of another kind's forward pass, such as an activation."""
    if kind is nn.BatchNorm2d:
        return MixedBatchNorm
    return type(f"Mixed{kind.__name__}", (MixedBatchNorm, kind), {})


def refuse_one_value(maps: Tensor) -> None:
    """Refuse maps (N, K, h, w) that have one value of each channel.

    Raises:
        StvmError: They have; one value has no variance.
    """
    if maps.numel() == maps.shape[1]:
        raise StvmError(
            "a batch norm gets one value of each channel, which has no variance: give batches "
            "of two images or more, or MeanTeacher(..., bn='copy')"
        )
