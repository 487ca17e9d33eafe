"""The labelling network and the mean teacher: section III-B of the paper."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.method.checked_input import check_choice
from stvm.method.label_views import Views, average_views, resized
from stvm.method.mixed_statistics import MixedBatchNorm, batch_norms, refuse_one_value
from stvm.method.moving_average import move_towards
from stvm.networks import SegmentationNetwork, preserve_modes, upsample
from stvm.networks.forward_mode import DEFAULT_FORWARD, ForwardMode, Pass

BnPolicy = Literal["copy", "ema", "track", "keep"]
Network = TypeVar("Network", bound=nn.Module)
MOST_SCALE = 4.0
"""Largest size at which a labelling network sees images, relative to theirs."""


def frozen_copy(network: Network) -> Network:
    """A copy in eval mode whose parameters take no gradient."""
    return copy.deepcopy(network).requires_grad_(False).eval()


class Labeller:
    """Pseudo-labels of a network, their confidence, and the features, without gradient.

    Dropout is off while it labels. The modes of the network, and its buffers unless `track` is
    set, are afterwards as before.

    Args:
        network: Labelling network: the teacher, the frozen source model or the student.
        bn: Statistics of the batch norms: "eval" uses the running ones, "batch" those of the batch.
        track: Whether the running statistics follow the labelled images.
        forward_mode: Memory order, precision and compilation of the passes.
        views: Views of each image whose shares are averaged, see `average_views`. Features and
            running statistics come from the image as it is.
        scale: Size at which the network sees the images, relative to theirs. Labels and confidence
            are brought back to the images' size; the features stay larger or smaller, and running
            statistics follow the images at this size, which is that of the labelling pass.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        bn: Literal["eval", "batch"] = "eval",
        track: bool = False,
        forward_mode: ForwardMode = DEFAULT_FORWARD,
        views: Views = "single",
        scale: float = 1.0,
    ) -> None:
        check_choice("Labeller", "views", views, Views)
        if not 0 < scale <= MOST_SCALE:
            raise StvmError(f"Labeller scale={scale}: give a number above 0, at most {MOST_SCALE}")
        self.network = network
        self.bn = bn
        self.track = track
        self.forward_mode = forward_mode
        self.views: Views = views
        self.scale = scale
        self.extract, self.classify = self._passes()

    def _passes(self) -> tuple[Pass, Pass]:
        # Compiled code does not notice the hooks by which statistics follow.
        compiled = not self.track
        wrap = self.forward_mode.wrap
        return wrap(self.network.extract, compiled), wrap(self.network.classifier, compiled)

    def __getstate__(self) -> dict[str, Any]:
        """The labeller for a copy or a file, without the functions that its own network is in."""
        return {k: v for k, v in vars(self).items() if k not in ("extract", "classify")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned; a copy labels with its own network."""
        vars(self).update(state)
        self.extract, self.classify = self._passes()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Label a batch of images.

        Args:
            images: Clean target images in [0, 1], (N, 3, H, W).

        Returns:
            Pseudo-labels (N, H, W); their confidence, the softmax share p, (N, H, W); their doubt
            log(1 - p), (N, H, W); features (N, D, h, w).
        """
        features, logits = self.logits(images)
        confidence, pseudo_labels = F.softmax(logits, dim=1).max(dim=1)
        return pseudo_labels, confidence, doubt_in(logits, pseudo_labels), features

    @torch.no_grad()
    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D, h, w) and logits (N, C, H, W) of images, averaged over the views."""
        seen = resized(images, self.scale)
        features, scores = self._pass(seen, self.track)
        logits = upsample(scores, (images.shape[-2], images.shape[-1]))
        if self.views != "single":
            logits = average_views(
                logits, seen, self.views, lambda view: self._pass(view, False)[1]
            )
        return features, logits

    def _pass(self, images: Tensor, track: bool) -> tuple[Tensor, Tensor]:
        """Features and scores of images; the running statistics follow them with `track`."""
        batch = self.bn == "batch"
        buffers = [b.clone() for b in self.network.buffers()] if batch and not track else []
        with preserve_modes(self.network):
            self.network.eval()
            for norm in batch_norms(self.network) if batch else []:
                norm.train()
            following = track and not batch
            with following_statistics(self.network) if following else nullcontext():
                features = self.extract(images)
                scores = self.classify(features)
        for buffer, value in zip(self.network.buffers() if buffers else [], buffers, strict=True):
            buffer.copy_(value)
        return features, scores


def doubt_in(logits: Tensor, labels: Tensor) -> Tensor:
    """log(1 - p) of the softmax share p of `labels`, (N, H, W); exact even if p is close to 1.

    Args:
        logits: Scores, (N, C, H, W); the scores of `labels` are overwritten.
        labels: Classes, (N, H, W).
    """
    own = labels.unsqueeze(1)
    chosen = logits.gather(1, own).squeeze(1)
    others = logits.scatter_(1, own, -torch.inf).logsumexp(1)
    return F.logsigmoid(others - chosen)


class MeanTeacher(nn.Module, Generic[Network]):
    """A teacher network that follows the student as a moving average.

    teacher <- (1 - momentum) teacher + momentum student, once every `period` iterations. The
    defaults are the paper's; it says nothing of batch norm, and `bn` has the value that suits
    this slow average best (docs/results.md).

    Args:
        network: Source model; the teacher begins as a frozen copy of it.
        momentum: Weight of the student in one update, the paper's smoothing factor.
        period: Number of iterations between two updates.
        bn: Rule for the batch-norm statistics. "copy" takes the student's at an update, "ema"
            averages them like parameters, "keep" leaves the source model's, "track" moves them
            with every batch that the teacher itself labels.

    Attributes:
        network: Teacher network, in eval mode and without gradient.
    """

    network: Network

    def __init__(
        self,
        network: Network,
        *,
        momentum: float = 1e-3,
        period: int = 100,
        bn: BnPolicy = "track",
    ) -> None:
        super().__init__()
        check_choice("MeanTeacher", "bn", bn, BnPolicy)
        self.network = frozen_copy(network)
        self.momentum = momentum
        self.period = period
        self.bn = bn

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        """Output of the teacher in eval mode, without gradient, for images (N, 3, H, W).

        With `bn="track"` the running statistics of the batch norms follow these images.
        """
        with preserve_modes(self.network):
            self.network.eval()
            with following_statistics(self.network) if self.bn == "track" else nullcontext():
                return self.network(images)

    def labeller(
        self,
        bn: Literal["eval", "batch"] = "eval",
        *,
        forward_mode: ForwardMode = DEFAULT_FORWARD,
        views: Views = "single",
        scale: float = 1.0,
    ) -> Labeller:
        """The `Labeller` of the teacher, for `AdaptationStep`.

        Args:
            bn: Statistics of the batch norms, see `Labeller`.
            forward_mode: Memory order, precision and compilation of the passes.
            views: Views of each image whose shares are averaged, see `Labeller`.
            scale: Size at which the teacher sees the images, see `Labeller`.

        Raises:
            StvmError: The teacher has no separate features and classifier.
        """
        if not isinstance(self.network, SegmentationNetwork):
            raise StvmError(
                f"MeanTeacher holds a {type(self.network).__name__}, whose features are not known: "
                "give it stvm.wrap_network(features=..., classifier=...)"
            )
        return Labeller(self.network, bn, self.bn == "track", forward_mode, views, scale)

    @torch.no_grad()
    def update(self, student: nn.Module, iteration: int) -> None:
        """Move the teacher towards the student, if `iteration` is a multiple of the period.

        Args:
            student: Network with the teacher's parameters and buffers; it is only read.
            iteration: Number of the iteration, 1, 2, ...
        """
        if iteration % self.period:
            return
        move_towards(self.network, student, self.momentum)
        if self.bn in ("track", "keep"):
            return
        for kept, fresh in zip(self.network.buffers(), student.buffers(), strict=True):
            if self.bn == "ema" and kept.is_floating_point():
                kept.lerp_(fresh, self.momentum)
            else:
                kept.copy_(fresh)


@contextmanager
def following_statistics(network: nn.Module, momentum: float = 0.1) -> Iterator[None]:
    """Within the block the running statistics of each batch norm follow its inputs in eval mode.

    After the block they stay as they are, so that an evaluation of the network does not move them.
    Those of a `MixedBatchNorm` follow its mixture.

    Args:
        network: Network in eval mode.
        momentum: Weight of a batch in the running statistics.

    Raises:
        StvmError: Within the block, if a batch norm gets a single value of each channel.
    """

    def follow(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        refuse_one_value(inputs[0])
        kept_mean, kept_variance = (
            module.get_buffer("running_mean"),
            module.get_buffer("running_var"),
        )
        variance, mean = torch.var_mean(inputs[0].to(kept_mean.dtype), dim=(0, 2, 3))
        if isinstance(module, MixedBatchNorm):
            mean, variance = module.mixed(mean, variance)
        kept_mean.lerp_(mean, momentum)
        kept_variance.lerp_(variance, momentum)

    hooks = [norm.register_forward_pre_hook(follow) for norm in batch_norms(network)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def no_update(iteration: int) -> None:
    """No update: it takes the place of the mean teacher's if MT is off."""


Update = Callable[[int], None]
"""Update of the teacher, called with the number of the iteration."""
