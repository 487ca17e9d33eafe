"""Metric network, proxies and their training: section III-C, equation 2 of the paper."""

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.method.distance import distance_to_predicted, normalized_squared_distance, sample_bilinear
from stvm.method.thresholds import ClassThresholds
from stvm.networks.forward_mode import DEFAULT_FORWARD, ForwardMode, Pass
from stvm.networks.segmentation_network import preserve_modes
from stvm.networks.shared_convolutions import share_convolutions

_WITH_MODES = (nn.Dropout, nn.Dropout2d, nn.modules.batchnorm._BatchNorm)


def proxy_nca_loss(features: Tensor, labels: Tensor, proxies: Tensor, temperature: float) -> Tensor:
    """Proxy NCA with temperature (eq. 2), averaged over the pixels.

    The paper sums over the pixels; Adam's step does not depend on the scale of the loss, so the
    mean differs in nothing but the printed value.

    Args:
        features: metric features (P, N_f).
        labels: (P,).
        proxies: (C, N_f).
        temperature: T.
    """
    return F.cross_entropy(-normalized_squared_distance(features, proxies) / temperature, labels)


def balanced_sample(
    mask: Tensor,
    labels: Tensor,
    num_classes: int,
    limit: int,
    balance: Literal["rarest", "repeat"],
    generator: torch.Generator,
    floor: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (n, y, x) of the mask, an equal number of every class present (section III-C).

    Args:
        mask: (N, H, W), the metric pseudo-labels.
        labels: (N, H, W).
        num_classes: C.
        limit: most pixels a class.
        balance: "rarest" takes as many as the rarest present class has, without replacement;
            "repeat" takes `limit` of each, drawing again where a class has fewer.
        generator: of the CPU; draws are made there so that they do not depend on the device.
        floor: classes with fewer pixels than this are left out, and do not set the number.
    """
    index = mask.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(index[0]), generator=generator).to(mask.device, non_blocking=True)
    classes = labels[index][shuffled]
    order = shuffled[torch.argsort(classes, stable=True)]
    # From here on the numbers are few: the device is asked once and not for each of them.
    counts: list[int] = torch.bincount(classes, minlength=num_classes).tolist()
    starts = [end - count for end, count in zip(accumulate(counts), counts, strict=True)]
    kept = [(s, c) for s, c in zip(starts, counts, strict=True) if c >= max(floor, 1)]
    first, present = torch.tensor(kept, dtype=torch.long).view(-1, 2).unbind(1)
    if balance == "rarest":
        rank = torch.arange(min([limit, *(count for _, count in kept)])).expand(len(kept), -1)
    else:
        rank = torch.arange(limit) % present.unsqueeze(1)
    places = (first.unsqueeze(1) + rank).flatten()
    chosen = order[places.to(mask.device, non_blocking=True)]
    return index[0][chosen], index[1][chosen], index[2][chosen]


@dataclass(frozen=True)
class MetricOutput:
    """What the metric network says of one batch.

    Attributes:
        distances: to the proxy of the predicted class, (N, H, W).
        loss: proxy NCA loss before the update, a scalar.
        selected: share of pixels that are metric pseudo-labels, a scalar.
        pixels: that each class gave to the update, a scalar.
    """

    distances: Tensor
    loss: Tensor
    selected: Tensor
    pixels: Tensor


class MetricLearner:
    """Trains M and the proxies on metric pseudo-labels and reads distances from them.

    Args:
        network: M, features (N, D, h, w) -> metric features (N, N_f, h, w).
        proxies: trainable (C, N_f).
        optimizer: over both.
        thresholds: of eq. 1.
        temperature: T of eq. 2.
        limit: most pixels a class in one step.
        balance: see `balanced_sample`.
        generator: CPU generator of the pixel draws.
        forward_mode: how M computes in training.
        floor: see `balanced_sample`.
    """

    def __init__(
        self,
        network: nn.Module,
        proxies: nn.Parameter,
        optimizer: torch.optim.Optimizer,
        thresholds: ClassThresholds,
        temperature: float,
        limit: int,
        balance: Literal["rarest", "repeat"],
        generator: torch.Generator,
        forward_mode: ForwardMode = DEFAULT_FORWARD,
        floor: int = 0,
    ) -> None:
        self.network = network
        self.forward = forward_mode.wrap(network)
        self.proxies = proxies
        self.optimizer = optimizer
        self.thresholds = thresholds
        self.temperature = temperature
        self.limit = limit
        self.balance = balance
        self.floor = floor
        self.generator = generator
        self.has_modes = any(isinstance(m, _WITH_MODES) for m in network.modules())
        # Compiled code would be compiled anew for modules that change.
        self.shares = self.has_modes and not forward_mode.compile

    def train_step(
        self,
        features: Tensor,
        pseudo_labels: Tensor,
        confidence: Tensor,
        doubt: Tensor | None = None,
    ) -> MetricOutput:
        """One step of eq. 2, and the distances as they are before the update.

        The paper trains all networks concurrently and gives no order, so that one pass serves
        both, unless the network computes otherwise in training (dropout, batch norm): then
        distances are read in eval mode by a pass of their own.

        Args:
            features: of the labelling network, without gradient, (N, D, h, w).
            pseudo_labels: (N, H, W).
            confidence: (N, H, W).
            doubt: (N, H, W); from the confidence where it is left out.
        """
        self.thresholds.update(confidence, pseudo_labels, doubt)
        mask = self.thresholds.select(confidence, pseudo_labels, doubt)
        classes = len(self.proxies)
        pixels = balanced_sample(
            mask, pseudo_labels, classes, self.limit, self.balance, self.generator, self.floor
        )
        size = (pseudo_labels.shape[-2], pseudo_labels.shape[-1])
        embeddings, read = self.read(features)
        distances = distance_to_predicted(read, self.proxies.detach(), pseudo_labels)
        selected = mask.float().mean()
        if not len(pixels[0]):
            nothing = embeddings.new_zeros(())
            return MetricOutput(distances, nothing, selected, nothing)
        labels = pseudo_labels[pixels]
        sampled = sample_bilinear(embeddings, size, pixels)
        loss = proxy_nca_loss(sampled, labels, self.proxies, self.temperature)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        # Each class gave as many as the first.
        return MetricOutput(distances, loss.detach(), selected, (labels == labels[0]).sum())

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Metric features (N, N_f, h, w) to train on, and those that distances are read from."""
        with share_convolutions(self.network, features) if self.shares else nullcontext():
            embeddings = self.forward(features)
            if not self.has_modes:
                return embeddings, embeddings.detach()
            return embeddings, self._in_eval(self.forward, features)

    def embed(self, features: Tensor) -> Tensor:
        """Metric features (N, N_f, h, w) in eval mode, without gradient."""
        return self._in_eval(self.network, features)

    @torch.no_grad()
    def _in_eval(self, forward: Pass, features: Tensor) -> Tensor:
        with preserve_modes(self.network):
            self.network.eval()
            return forward(features)

    @torch.no_grad()
    def distances(self, features: Tensor, labels: Tensor) -> Tensor:
        """Distances (N, H, W) of the pixels to the proxies of `labels`, in eval mode."""
        return distance_to_predicted(self.embed(features), self.proxies, labels)

    def state_dict(self) -> dict[str, Any]:
        """Network, proxies, thresholds and the state of the draws; the optimiser is another's."""
        return {
            "network": self.network.state_dict(),
            "proxies": self.proxies.detach(),
            "thresholds": self.thresholds.values,
            "doubts": self.thresholds.doubts,
            "generator": self.generator.get_state(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.proxies.copy_(state["proxies"])
        self.thresholds.values = state["thresholds"].to(self.proxies.device)
        self.thresholds.doubts = state["doubts"].to(self.proxies.device)
        self.generator.set_state(state["generator"].cpu())
