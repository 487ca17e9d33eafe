"""torchvision's segmentation networks, cut into feature extractor and classifier."""

from torch import Tensor, nn

from stvm.networks.architecture import Architecture
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


def deeplabv3(architecture: Architecture) -> SegmentationNetwork:
    """DeepLabV3 (Chen et al. 2017) of torchvision."""
    from torchvision.models.segmentation import deeplabv3_resnet50
    from torchvision.models.segmentation.fcn import FCNHead

    classes = architecture.num_classes
    # None and not False: False changes torchvision's random weights.
    whole = deeplabv3_resnet50(
        weights=None, weights_backbone=None, aux_loss=architecture.auxiliary or None
    )
    features = TorchvisionFeatures(whole.backbone)
    auxiliary = FCNHead(1024, classes) if architecture.auxiliary else None
    return SegmentationNetwork(
        architecture, features, _deeplabv3_head(classes), _deeplabv3_head, auxiliary
    )


def _deeplabv3_head(out_channels: int) -> nn.Module:
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    head: nn.Module = DeepLabHead(2048, out_channels)
    return head
