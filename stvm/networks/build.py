"""Networks built by name, with random weights."""

from functools import partial

from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.networks.architecture import Architecture, Branches
from stvm.networks.aspp import RATES, SummedAspp
from stvm.networks.espnetv2 import espnetv2
from stvm.networks.resnet import FORMS, RESNET101, ResNet, ResNetSize
from stvm.networks.segmentation_network import SegmentationNetwork, StagedFeatures
from stvm.networks.small import SMALL_RATES, small_features

_ASPP_STD = 0.01
_ACTIVE = {"two": 2, "four": 4}


def build_network(
    network: str,
    channels: int,
    num_classes: int,
    *,
    auxiliary: bool = False,
    aspp_branches: Branches = "four",
) -> SegmentationNetwork:
    """A network with random weights drawn from torch's global generator.

    Args:
        network: Name: small_deeplab, deeplabv2_resnet101 or deeplabv3_resnet50.
        channels: Channels of the features; used by small_deeplab alone.
        num_classes: Number of classes, C.
        auxiliary: Whether there is a second classifier on layer 3.
        aspp_branches: Number of active branches of deeplabv2_resnet101's classifier, of the rates
            6, 12, 18, 24.

    Raises:
        StvmError: There is no such network, or it has no layer 3.
    """
    pixels = "bgr_caffe" if network == "deeplabv2_resnet101" else "rgb_imagenet"
    return assemble(
        Architecture(network, channels, num_classes, auxiliary, aspp_branches, normalisation=pixels)
    )


def assemble(architecture: Architecture, size: ResNetSize = RESNET101) -> SegmentationNetwork:
    """The network that an architecture describes, with random weights.

    Args:
        architecture: Description of the network.
        size: Depth and width of DeepLabV2's backbone; the others have one size.

    Raises:
        StvmError: There is no such network, or it has no layer 3.
    """
    if architecture.network == "small_deeplab":
        if architecture.auxiliary:
            raise StvmError("small_deeplab has no layer 3 to classify: set auxiliary=false")
        return _small(architecture)
    if architecture.network == "deeplabv2_resnet101":
        return _deeplabv2(architecture, size)
    if architecture.network == "deeplabv3_resnet50":
        return _deeplabv3(architecture)
    if architecture.network == "espnetv2":
        return espnetv2(architecture)
    raise StvmError(
        f"unknown network '{architecture.network}': use small_deeplab, deeplabv2_resnet101, "
        "deeplabv3_resnet50 or espnetv2"
    )


def _small(architecture: Architecture) -> SegmentationNetwork:
    head = partial(_summed, architecture.channels, SMALL_RATES)
    features = small_features(architecture.channels)
    return SegmentationNetwork(architecture, features, head(architecture.num_classes), head)


def _summed(channels: int, rates: tuple[int, ...], out_channels: int) -> nn.Module:
    return SummedAspp(channels, out_channels, rates)


def _deeplabv2(architecture: Architecture, size: ResNetSize) -> SegmentationNetwork:
    """DeepLabV2 (Chen et al. 2017) at one scale and without CRF, as in other work on adaptation."""
    classes, active_branches = architecture.num_classes, _ACTIVE[architecture.aspp_branches]
    rates = RATES if architecture.idle_branches else RATES[:active_branches]
    features = ResNet(FORMS[architecture.backbone], size)
    classifier = SummedAspp(size.channels(4), classes, rates, active_branches, _ASPP_STD)
    auxiliary = None
    if architecture.auxiliary:
        auxiliary = SummedAspp(size.channels(3), classes, rates, active_branches, _ASPP_STD)
    head = partial(_deeplabv2_head, size.channels(4), RATES[:active_branches])
    return SegmentationNetwork(architecture, features, classifier, head, auxiliary)


def _deeplabv2_head(channels: int, rates: tuple[int, ...], out_channels: int) -> nn.Module:
    return SummedAspp(channels, out_channels, rates, std=_ASPP_STD)


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


def _deeplabv3(architecture: Architecture) -> SegmentationNetwork:
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
