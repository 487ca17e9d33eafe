"""A segmentation network: feature extractor F, classifier C, and heads of C's architecture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.networks.architecture import Architecture
from stvm.networks.normalisation import NORMALISATIONS, Normalisation


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear maps (N, K, h, w) -> (N, K, H, W), corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@contextmanager
def preserve_modes(network: nn.Module) -> Iterator[None]:
    """Restore after the block which modules are in training mode and which in eval mode."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class StagedFeatures(nn.Module):
    """A feature extractor that also gives its third layer, for an auxiliary classifier."""

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> features of layers 3 and 4."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features of layer 4."""
        return self.stages(images)[1]


class SegmentationNetwork(nn.Module):
    """Feature extractor F followed by classifier C; the input is images in [0, 1].

    The network normalises the images itself, since each family of checkpoints has its own mean and
    deviation. `wrap_network` makes one of any two modules.

    Args:
        architecture: Description that a checkpoint file keeps; None for a wrapped network.
        features: Feature extractor F, normalised images (N, 3, H, W) -> features (N, D, h, w).
        classifier: Classifier C, features (N, D, h, w) -> logits (N, num_classes, h, w).
        head: Function that makes a head of C's architecture with a given number of outputs.
        auxiliary: Second classifier, on the features of the third layer; no part of `forward`.
        normalisation: Normalisation of the images; by default that of the architecture.

    Attributes:
        mean: RGB mean in [0, 1], (1, 3, 1, 1).
        std: RGB standard deviation in [0, 1], (1, 3, 1, 1).
        bgr: Whether F takes the channels in the order blue, green, red.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: Architecture | None,
        features: nn.Module,
        classifier: nn.Module,
        head: Callable[[int], nn.Module],
        auxiliary: nn.Module | None = None,
        normalisation: Normalisation | None = None,
    ) -> None:
        super().__init__()
        name = architecture.normalisation if architecture else "rgb_imagenet"
        pixels = normalisation or NORMALISATIONS[name]
        self._architecture = architecture
        self.features = features
        self.classifier = classifier
        self.auxiliary = auxiliary
        self.bgr = pixels.bgr
        self._head = head
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(1, -1, 1, 1), persistent=False)

    @property
    def architecture(self) -> Architecture:
        """The description that a checkpoint file keeps.

        Raises:
            StvmError: The network is a wrapped one.
        """
        if self._architecture is None:
            raise StvmError(
                "a wrapped network has no architecture known here: save its state_dict() with "
                "torch.save"
            )
        return self._architecture

    def new_head(self, out_channels: int) -> nn.Module:
        """A head of the classifier's architecture with random weights and `out_channels` outputs.

        Section III-C: the metric network "utilizes the same architecture with the classifier". If
        only two branches of the classifier are active, the head has those two.

        Args:
            out_channels: Number of outputs, N_f for a metric network.
        """
        return self._head(out_channels)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> normalised images (N, 3, H, W), the input of F."""
        pixels = (images - self.mean) / self.std
        return pixels.flip(1) if self.bgr else pixels

    def extract(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> features (N, D, h, w)."""
        features: Tensor = self.features(self.normalised(images))
        return features

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> logits (N, num_classes, h, w), not enlarged."""
        logits: Tensor = self.classifier(self.extract(images))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> logits (N, num_classes, H, W)."""
        return upsample(self.logits(images), (images.shape[-2], images.shape[-1]))

    def both_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes, h, w) of the classifier and of the auxiliary classifier."""
        assert self.auxiliary is not None and isinstance(self.features, StagedFeatures)
        middle, last = self.features.stages(self.normalised(images))
        return self.classifier(last), self.auxiliary(middle)
