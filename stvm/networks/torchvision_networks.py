"""torchvision's segmentation networks, cut into feature extractor and classifier."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision.models import segmentation
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.models.segmentation.lraspp import LRASPPHead

from stvm.networks.architecture import Architecture
from stvm.networks.packing import Packing
from stvm.networks.segmentation_network import SegmentationNetwork, StagedFeatures


class TorchvisionFeatures(StagedFeatures):
    """torchvision's backbone as feature extractor: the tensor of its dictionary."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> features of layers 3 and 4, if both are there."""
        layers: dict[str, Tensor] = self.backbone(images)
        return layers["aux"], layers["out"]

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features of layer 4."""
        features: Tensor = self.backbone(images)["out"]
        return features


def torchvision_network(architecture: Architecture) -> SegmentationNetwork:
    """DeepLabV3 (Chen et al. 2017) or FCN (Long et al. 2015) of torchvision."""
    make, classes = getattr(segmentation, architecture.network), architecture.num_classes
    # None and not False: False changes torchvision's random weights.
    whole = make(weights=None, weights_backbone=None, aux_loss=architecture.auxiliary or None)
    auxiliary = None
    if architecture.auxiliary:
        auxiliary = FCNHead(_inputs(whole.aux_classifier), classes)
    like: Any = type(whole.classifier)
    head: Callable[[int], nn.Module] = partial(like, _inputs(whole.classifier))
    return SegmentationNetwork(
        architecture, TorchvisionFeatures(whole.backbone), head(classes), head, auxiliary
    )


def _inputs(head: nn.Module) -> int:
    return next(m.in_channels for m in head.modules() if isinstance(m, nn.Conv2d))


class TwoMaps(nn.Module):
    """torchvision's backbone of LR-ASPP; its two maps are packed into one tensor.

    Args:
        backbone: Module that gives the maps "low" and "high".
        packing: How they are packed.
    """

    def __init__(self, backbone: nn.Module, packing: Packing) -> None:
        super().__init__()
        self.backbone = backbone
        self.packing = packing

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> both maps (N, D, H / 8, W / 8)."""
        maps: dict[str, Tensor] = self.backbone(images)
        return self.packing.pack([maps["low"], maps["high"]])


class PackedLraspp(LRASPPHead):  # type: ignore[misc]
    """LR-ASPP's classifier (Howard et al. 2019) on two maps in one tensor."""

    def __init__(self, packing: Packing, inner: int, out_channels: int) -> None:
        super().__init__(*packing.channels, out_channels, inner)
        self.packing = packing

    def forward(self, packed: Tensor) -> Tensor:
        """Both maps (N, D, h, w) -> (N, out_channels, h, w)."""
        low, high = self.packing.unpack(packed)
        scores: Tensor = super().forward({"low": low, "high": high})
        return scores


def lraspp(architecture: Architecture) -> SegmentationNetwork:
    """LR-ASPP on MobileNetV3 (Howard et al. 2019) of torchvision."""
    whole = getattr(segmentation, architecture.network)(weights=None, weights_backbone=None)
    theirs = whole.classifier
    packing = Packing((theirs.low_classifier.in_channels, _inputs(theirs.cbr)), (1, 2))
    head = partial(PackedLraspp, packing, theirs.high_classifier.in_channels)
    return SegmentationNetwork(
        architecture, TwoMaps(whole.backbone, packing), head(architecture.num_classes), head
    )
