"""The network that labels, and the mean teacher's update: section III-B of the paper."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.networks import SegmentationNetwork, preserve_modes, upsample
from stvm.networks.forward_mode import DEFAULT_FORWARD, ForwardMode

BnPolicy = Literal["copy", "ema", "track", "keep"]


def frozen_copy(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy in eval mode whose parameters take no gradient."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of a network."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


class Labeller:
    """Pseudo-labels, how sure they are, and the features they come from, without gradient.

    Args:
        network: teacher, frozen source model or student.
        bn: "eval" labels with running statistics, "batch" with those of the batch. Dropout is off,
            and the network's modes and buffers are left as they were found.
        track: let the running statistics follow the labelled images (teacher_bn=track).
        forward_mode: how the network computes.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        bn: Literal["eval", "batch"],
        track: bool = False,
        forward_mode: ForwardMode = DEFAULT_FORWARD,
    ) -> None:
        self.network = network
        self.bn = bn
        self.track = track
        self.extract = forward_mode.wrap(network.extract, compiled=not track)
        self.classify = forward_mode.wrap(network.classifier, compiled=not track)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (N, 3, H, W) -> pseudo_labels, confidence and doubt (N, H, W), and features."""
        batch = self.bn == "batch"
        buffers = [b.clone() for b in self.network.buffers()] if batch and not self.track else []
        with preserve_modes(self.network):
            self.network.eval()
            for norm in batch_norms(self.network) if batch else []:
                norm.train()
            following = self.track and not batch
            with following_statistics(self.network) if following else nullcontext():
                features = self.extract(images)
                scores = self.classify(features)
        for buffer, value in zip(self.network.buffers() if buffers else [], buffers, strict=True):
            buffer.copy_(value)
        logits = upsample(scores, (images.shape[-2], images.shape[-1]))
        confidence, pseudo_labels = F.softmax(logits, dim=1).max(dim=1)
        return pseudo_labels, confidence, doubt_in(logits, pseudo_labels), features


def doubt_in(logits: Tensor, labels: Tensor) -> Tensor:
    """log(1 - p) of the softmax share p of `labels`, (N, H, W), however near to 1 p is.

    Args:
        logits: (N, C, H, W); those of `labels` are written over.
        labels: (N, H, W).
    """
    own = labels.unsqueeze(1)
    chosen = logits.gather(1, own).squeeze(1)
    others = logits.scatter_(1, own, -torch.inf).logsumexp(1)
    return F.logsigmoid(others - chosen)


class MeanTeacher:
    """Moves the teacher towards the student: parameters by moving average, buffers by policy.

    teacher <- (1 - momentum) teacher + momentum student, once in `period` iterations.

    Args:
        teacher: updated in place.
        student: read only.
        momentum: the paper's smoothing factor, the weight of the student.
        period: iterations between updates.
        bn: what happens to the batch-norm buffers at an update. "copy" takes the student's,
            "ema" averages them like parameters, "keep" leaves the source model's, "track" moves
            them with every batch the teacher itself labels.
    """

    def __init__(
        self,
        teacher: SegmentationNetwork,
        student: SegmentationNetwork,
        momentum: float,
        period: int,
        bn: BnPolicy,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.momentum = momentum
        self.period = period
        self.bn = bn

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Update at iteration 1, 2, ... where it is a multiple of the period."""
        if iteration % self.period:
            return
        pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        for own, new in pairs:
            own.lerp_(new, self.momentum)
        if self.bn in ("track", "keep"):
            return
        for kept, fresh in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            if self.bn == "ema" and kept.is_floating_point():
                kept.lerp_(fresh, self.momentum)
            else:
                kept.copy_(fresh)


@contextmanager
def following_statistics(network: nn.Module, momentum: float = 0.1) -> Iterator[None]:
    """Within the block each batch norm follows its inputs while it normalises in eval mode.

    The hooks live in the block only, so that evaluating the network cannot move its statistics.
    """

    def follow(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept_mean, kept_variance = (
            module.get_buffer("running_mean"),
            module.get_buffer("running_var"),
        )
        variance, mean = torch.var_mean(inputs[0].to(kept_mean.dtype), dim=(0, 2, 3))
        kept_mean.lerp_(mean, momentum)
        kept_variance.lerp_(variance, momentum)

    hooks = [norm.register_forward_pre_hook(follow) for norm in batch_norms(network)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def no_update(iteration: int) -> None:
    """What stands where MT is off: nothing follows the student."""


Update = Callable[[int], None]
