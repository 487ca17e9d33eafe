"""Metric network, proxies and their training: section III-C of the paper."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.method.checked_input import check_choice
from stvm.method.distance import distance_to_predicted, sample_bilinear
from stvm.method.proxy_loss import balanced_sample, proxy_nca_loss
from stvm.method.thresholds import ClassThresholds
from stvm.networks.forward_mode import DEFAULT_FORWARD, ForwardMode, Pass
from stvm.networks.segmentation_network import preserve_modes
from stvm.networks.shared_convolutions import share_convolutions

Balance = Literal["rarest", "repeat"]
_WITH_MODES = (nn.Dropout, nn.Dropout2d, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class MetricOutput:
    """Output of one training step of the metric network.

    Attributes:
        distances: Distance of each pixel to the proxy of its predicted class (eq. 3), (N, H, W).
        loss: Proxy NCA loss before the update, a scalar.
        selected: Share of pixels that are metric pseudo-labels, a scalar.
        pixels: Number of pixels that each class gave to the update, a scalar.
    """

    distances: Tensor
    loss: Tensor
    selected: Tensor
    pixels: Tensor


class MetricLearner(nn.Module):
    """Metric network and proxies, trained on metric pseudo-labels (section III-C).

    Everything begins on the device and in the precision of `head`. It moves with `.to`, the state
    of the optimiser included. `state_dict` holds network, proxies, thresholds, optimiser and draws.

    Args:
        head: Metric network M, features (N, D, h, w) -> metric features (N, N_f, h, w). The paper
            uses the architecture of the classifier: `SegmentationNetwork.new_head`.
        num_classes: Number of classes, C.
        embedding_size: Number of metric channels, N_f.
        temperature: Temperature T of eq. 2.
        q_m: Share of a class's pixels that become metric pseudo-labels (eq. 1).
        threshold_momentum: Weight of the past in the thresholds of eq. 1.
        pixels_per_class: Largest number of pixels that a class gives to one step.
        balance: Rule for equal numbers of pixels: "rarest" takes as many of each class as the
            rarest one has; "repeat" takes `pixels_per_class` of each, some of them several times.
        floor: Least number of pixels of a class that takes part in a step.
        lr: Learning rate of Adam.
        seed: Seed of the pixel draws.
        generator: CPU generator of the pixel draws, in place of one made from `seed`.
        forward_mode: Memory order, precision and compilation of the passes in training.

    Attributes:
        network: Metric network, the argument `head`.
        proxies: Trainable proxies, (C, N_f); normal draws of torch's global generator at first.
        thresholds: Thresholds of the metric pseudo-labels.
        optimizer: Adam over network and proxies; put a schedule on it if you want one.
    """

    def __init__(
        self,
        head: nn.Module,
        *,
        num_classes: int = 19,
        embedding_size: int = 128,
        temperature: float = 0.25,
        q_m: float = 0.2,
        threshold_momentum: float = 0.9,
        pixels_per_class: int = 64,
        balance: Balance = "rarest",
        floor: int = 0,
        lr: float = 3e-4,
        seed: int = 0,
        generator: torch.Generator | None = None,
        forward_mode: ForwardMode = DEFAULT_FORWARD,
    ) -> None:
        super().__init__()
        like = next(head.parameters(), torch.empty(0))
        self.network = head
        self.proxies = nn.Parameter(torch.randn(num_classes, embedding_size).to(like))
        self.thresholds = ClassThresholds(num_classes, q_m=q_m, momentum=threshold_momentum)
        self.thresholds.to(like.device, like.dtype)
        trained = [*head.parameters(), self.proxies]
        self.optimizer = torch.optim.Adam(trained, lr=lr, fused=True)
        self.temperature = temperature
        self.pixels_per_class = pixels_per_class
        check_choice("MetricLearner", "balance", balance, Balance)
        self.balance: Balance = balance
        self.floor = floor
        self.generator = generator or torch.Generator().manual_seed(seed)
        self.has_modes = any(isinstance(m, _WITH_MODES) for m in head.modules())
        # Compiled code would be compiled anew for modules that change.
        self.shares = self.has_modes and not forward_mode.compile
        self.forward_mode = forward_mode
        # In a tuple: as an attribute it would become a second submodule with the same weights.
        self._wrapped = (forward_mode.wrap(head),)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Distances (N, H, W) of the pixels to the proxies of `labels`, see `distances`."""
        return self.distances(features, labels)

    def train_step(
        self,
        features: Tensor,
        pseudo_labels: Tensor,
        confidence: Tensor,
        doubt: Tensor | None = None,
    ) -> MetricOutput:
        """One step of eq. 2; the distances are those before the update.

        The paper gives no order, so one pass gives both distances and loss. If the network has
        dropout or batch norm, the distances come from a second pass in eval mode.

        Args:
            features: Features of the labelling network, without gradient, (N, D, h, w).
            pseudo_labels: Predicted classes, (N, H, W).
            confidence: Largest softmax share of each pixel, (N, H, W).
            doubt: log(1 - confidence), (N, H, W); computed from `confidence` if left out.

        Raises:
            StvmError: The metric network does not give `embedding_size` channels.
        """
        self.thresholds.update(confidence, pseudo_labels, doubt)
        mask = self.thresholds.select(confidence, pseudo_labels, doubt)
        numbers = self.pixels_per_class, self.balance, self.generator, self.floor
        pixels = balanced_sample(mask, pseudo_labels, len(self.proxies), *numbers)
        distances, loss, used = self.train_on_pixels(features, pseudo_labels, pixels)
        return MetricOutput(distances, loss, mask.float().mean(), used)

    def train_on_pixels(
        self, features: Tensor, pseudo_labels: Tensor, pixels: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The part of `train_step` after the pixels are drawn.

        Args:
            features: Features of the labelling network, without gradient, (N, D, h, w).
            pseudo_labels: Predicted classes, (N, H, W).
            pixels: Image, row and column of each drawn pixel, three tensors (P,).

        Returns:
            Distances (N, H, W) before the update, loss before the update, and the number of pixels
            that each class gave; the last two are 0 if no pixel was drawn.
        """
        size = (pseudo_labels.shape[-2], pseudo_labels.shape[-1])
        embeddings, read = self.read(features)
        distances = distance_to_predicted(read, self.proxies.detach(), pseudo_labels)
        if not len(pixels[0]):
            nothing = embeddings.new_zeros(())
            return distances, nothing, nothing
        labels = pseudo_labels[pixels]
        sampled = sample_bilinear(embeddings, size, pixels)
        loss = proxy_nca_loss(sampled, labels, self.proxies, self.temperature)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        # Every class gave the same number: that of the first pixel's class stands for all.
        return distances, loss.detach(), (labels == labels[0]).sum()

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Metric features (N, N_f, h, w) twice: with gradient, and those for the distances."""
        with share_convolutions(self.network, features) if self.shares else nullcontext():
            embeddings = self._wrapped[0](features)
            if embeddings.shape[1] != self.proxies.shape[1]:
                raise StvmError(
                    f"the metric network gives {embeddings.shape[1]} channels and embedding_size "
                    f"is {self.proxies.shape[1]}: make both equal"
                )
            if not self.has_modes:
                return embeddings, embeddings.detach()
            return embeddings, self._in_eval(self._wrapped[0], features)

    def embed(self, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> metric features (N, N_f, h, w) in eval mode, no gradient."""
        return self._in_eval(self.network, features)

    @torch.no_grad()
    def _in_eval(self, forward: Pass, features: Tensor) -> Tensor:
        with preserve_modes(self.network):
            self.network.eval()
            return forward(features)

    @torch.no_grad()
    def distances(self, features: Tensor, labels: Tensor) -> Tensor:
        """Distances (N, H, W) to the proxies of the labels (eq. 3), in eval mode, no gradient.

        Args:
            features: Features of the labelling network, (N, D, h, w).
            labels: Predicted classes, (N, H, W).
        """
        return distance_to_predicted(self.embed(features), self.proxies, labels)

    def __getstate__(self) -> dict[str, Any]:
        """The learner for a copy or a file, without the function that its own network is in."""
        return {name: value for name, value in vars(self).items() if name != "_wrapped"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned; a copy passes features through its own network."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._wrapped = (self.forward_mode.wrap(self.network),)

    def get_extra_state(self) -> dict[str, Any]:
        """State of the optimiser and of the draws, which `state_dict` includes."""
        optimizer = self.optimizer.state_dict()
        return {"optimizer": optimizer, "generator": self.generator.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move parameters and buffers (`.to`), and the optimiser's state to the same device."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.optimizer.state:
            self.optimizer.load_state_dict(self.optimizer.state_dict())
        return self
