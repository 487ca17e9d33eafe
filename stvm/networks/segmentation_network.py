"""A segmentation network: feature extractor F, classifier C, and heads of C's architecture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.networks.architecture import Architecture
from stvm.networks.normalisation import NORMALISATIONS


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear maps (N, K, h, w) -> (N, K, H, W), corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@contextmanager
def preserve_modes(network: nn.Module) -> Iterator[None]:
    """After the block every module trains or not as it did before it."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class StagedFeatures(nn.Module):
    """A feature extractor whose third layer can be had too, for an auxiliary classifier."""

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> features of layers 3 and 4."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features of layer 4."""
        return self.stages(images)[1]


class SegmentationNetwork(nn.Module):
    """F followed by C; images enter in [0, 1] and are normalised here.

    The normalisation belongs to the network, since each checkpoint family has its own.

    Args:
        architecture: what it is built as.
        features: F, images (N, 3, H, W) -> features (N, D, h, w).
        classifier: C, features -> logits (N, num_classes, h, w).
        head: makes a head of C's architecture with a number of output channels.
        auxiliary: a second classifier, on the third layer's features; no part of `forward`.

    Attributes:
        mean: RGB mean in [0, 1].
        std: RGB standard deviation in [0, 1].
        bgr: F takes blue first.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: Architecture,
        features: nn.Module,
        classifier: nn.Module,
        head: Callable[[int], nn.Module],
        auxiliary: nn.Module | None = None,
    ) -> None:
        super().__init__()
        pixels = NORMALISATIONS[architecture.normalisation]
        self.architecture = architecture
        self.features = features
        self.classifier = classifier
        self.auxiliary = auxiliary
        self.bgr = pixels.bgr
        self._head = head
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(1, -1, 1, 1), persistent=False)

    def new_head(self, out_channels: int) -> nn.Module:
        """A head of the classifier's architecture with random weights and any number of outputs.

        Section III-C: the metric network "utilizes the same architecture with the classifier".
        Of a classifier of which two branches count, it has those two.
        """
        return self._head(out_channels)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] as F takes them."""
        pixels = (images - self.mean) / self.std
        return pixels.flip(1) if self.bgr else pixels

    def extract(self, images: Tensor) -> Tensor:
        """Features (N, D, h, w) of images (N, 3, H, W) in [0, 1]."""
        features: Tensor = self.features(self.normalised(images))
        return features

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w) at the features' size of images (N, 3, H, W) in [0, 1]."""
        logits: Tensor = self.classifier(self.extract(images))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of images (N, 3, H, W) in [0, 1]."""
        return upsample(self.logits(images), (images.shape[-2], images.shape[-1]))

    def both_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes, h, w) of the classifier and of the auxiliary one."""
        assert self.auxiliary is not None and isinstance(self.features, StagedFeatures)
        middle, last = self.features.stages(self.normalised(images))
        return self.classifier(last), self.auxiliary(middle)
