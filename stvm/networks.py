"""Segmentation networks: feature extractor F, classifier C, and heads of C's architecture."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.errors import StvmError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear maps (N, K, h, w) -> (N, K, H, W), corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@contextmanager
def keeping_modes(network: nn.Module) -> Iterator[None]:
    """After the block every module trains or not as it did before it."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class SegmentationNetwork(nn.Module):
    """F followed by C; images enter in [0, 1] and are normalised here.

    The normalisation belongs to the network, since each checkpoint family has its own.

    Args:
        features: F, images (N, 3, H, W) -> features (N, D, h, w).
        classifier: C, features -> logits (N, num_classes, h, w).
        mean: RGB mean in [0, 1].
        std: RGB standard deviation in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Module,
        classifier: nn.Module,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def extract(self, images: Tensor) -> Tensor:
        """Features (N, D, h, w) of images (N, 3, H, W) in [0, 1]."""
        features: Tensor = self.features((images - self.mean) / self.std)
        return features

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w) at the features' size of images (N, 3, H, W) in [0, 1]."""
        logits: Tensor = self.classifier(self.extract(images))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of images (N, 3, H, W) in [0, 1]."""
        return upsample(self.logits(images), (images.shape[-2], images.shape[-1]))


class SummedAspp(nn.Module):
    """DeepLabV2's classifier: parallel dilated 3x3 convolutions, summed.

    The branches are separate convolutions whose outputs are added, as in Chen et al. 2017.
    """

    def __init__(self, channels: int, out_channels: int, rates: Iterable[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, out_channels, 3, padding=rate, dilation=rate) for rate in rates
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> (N, out_channels, h, w)."""
        total: Tensor = self.branches[0](features)
        for branch in self.branches[1:]:
            total = total + branch(features)
        return total


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a projected shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


SMALL_RATES = (1, 2, 4, 6)


def small_features(channels: int) -> nn.Sequential:
    """A feature extractor of output stride 4 for the embedded benchmark."""
    stem, middle = 3 * channels // 8, 3 * channels // 4
    return nn.Sequential(
        nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
        ResidualBlock(stem, middle, stride=2),
        ResidualBlock(middle, channels),
        ResidualBlock(channels, channels, dilation=2),
    )


class _Layer4(nn.Module):
    """torchvision's feature getter returns a dictionary; F returns its one tensor."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)["out"]
        return features


def build_head(network: str, channels: int, out_channels: int) -> nn.Module:
    """A head of the classifier's architecture with any number of output channels.

    Section III-C: the metric network "utilizes the same architecture with the classifier".
    """
    if network == "small_deeplab":
        return SummedAspp(channels, out_channels, SMALL_RATES)
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    head: nn.Module = DeepLabHead(2048, out_channels)
    return head


def build_network(network: str, channels: int, num_classes: int) -> SegmentationNetwork:
    """A network with random weights drawn from torch's global generator."""
    if network == "small_deeplab":
        features: nn.Module = small_features(channels)
    elif network == "deeplabv3_resnet50":
        from torchvision.models.segmentation import deeplabv3_resnet50

        features = _Layer4(deeplabv3_resnet50(weights=None, weights_backbone=None).backbone)
    else:
        raise StvmError(f"unknown network '{network}': use small_deeplab or deeplabv3_resnet50")
    return SegmentationNetwork(features, build_head(network, channels, num_classes))


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Put `state` into `network`, every key and shape or none.

    Raises:
        StvmError: keys missing, unexpected or of another shape; the message lists the first.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    reshaped = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in sorted(own.keys() & state.keys())
        if state[k].shape != own[k].shape
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
        )
        if keys
    ]
    if faults:
        raise StvmError(
            f"checkpoint {origin} does not fit the network: keys {'; '.join(faults)}; "
            "use the network, channels and classes it was trained with"
        )
    network.load_state_dict(state)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(math.prod(p.shape) for p in module.parameters() if p.requires_grad)
