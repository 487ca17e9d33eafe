"""Networks built by name, with random weights."""

from functools import partial

from torch import nn

from stvm.errors import StvmError
from stvm.networks.architecture import Architecture, Branches
from stvm.networks.aspp import RATES, SummedAspp
from stvm.networks.known_networks import find_network
from stvm.networks.resnet import FORMS, RESNET101, ResNet, ResNetSize
from stvm.networks.segmentation_network import SegmentationNetwork
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
        network: Name that `find_network` knows.
        channels: Channels of the features; used by small_deeplab alone.
        num_classes: Number of classes, C.
        auxiliary: Whether there is a second classifier on layer 3.
        aspp_branches: Number of active branches of deeplabv2_resnet101's classifier, of the rates
            6, 12, 18, 24.

    Raises:
        StvmError: There is no such network, or it has no layer 3.
    """
    pixels = find_network(network).normalisation
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
    facts = find_network(architecture.network)
    if architecture.auxiliary and not facts.auxiliary:
        raise StvmError(f"{facts.name} has no layer 3 to classify: set auxiliary=false")
    sized = {} if size is RESNET101 else {"size": size}
    network: SegmentationNetwork = facts.find_builder()(architecture, **sized)
    return network


def small(architecture: Architecture) -> SegmentationNetwork:
    """The network of the embedded benchmark."""
    head = partial(_summed, architecture.channels, SMALL_RATES)
    features = small_features(architecture.channels)
    return SegmentationNetwork(architecture, features, head(architecture.num_classes), head)


def _summed(channels: int, rates: tuple[int, ...], out_channels: int) -> nn.Module:
    return SummedAspp(channels, out_channels, rates)


def deeplabv2(architecture: Architecture, size: ResNetSize = RESNET101) -> SegmentationNetwork:
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
