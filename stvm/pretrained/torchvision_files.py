"""torchvision's files of whole segmentation networks."""

from collections.abc import Iterable

from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import Architecture
from stvm.networks.known_networks import NETWORKS
from stvm.pretrained.unknown_networks import resnet_of
from stvm.pretrained.unwrapping import MOBILE, UnwrappedCheckpoint

_LAST = {
    "lraspp": "classifier.low_classifier.weight",
    "deeplabv3": "classifier.4.weight",
    "fcn": "classifier.4.weight",
}
"""Kind of a classifier to its key that has the number of classes."""


def torchvision_architecture(found: UnwrappedCheckpoint) -> Architecture:
    """The network of a file, with an auxiliary classifier if the file has one.

    Raises:
        StvmError: The file lacks a key by which the network is known, or is of another network.
    """
    kind, backbone = _head_of(found.state), _backbone_of(found.state)
    network = f"{kind}_{backbone}"
    if network not in NETWORKS:
        known = ", ".join(n for n, facts in NETWORKS.items() if facts.family == "torchvision")
        raise StvmError(f"checkpoint {found.path} is of torchvision's {network}: known are {known}")
    classes = _weight(found, _LAST[kind], network).shape[0]
    auxiliary = any(key.startswith("aux_classifier.") for key in found.state)
    # Only this network was known when the first files were described.
    channels = 2048 if network == "deeplabv3_resnet50" else 0
    return Architecture(network, channels, classes, auxiliary)


def _head_of(keys: Iterable[str]) -> str:
    listed = list(keys)
    if any(key.startswith("classifier.cbr.") for key in listed):
        return "lraspp"
    # DeepLabV3's first module is an ASPP, FCN's a convolution.
    return "fcn" if "classifier.0.weight" in listed else "deeplabv3"


def _backbone_of(keys: Iterable[str]) -> str:
    listed = list(keys)
    if MOBILE in listed:
        return "mobilenet_v3_large"
    name = resnet_of(key.removeprefix("backbone.") for key in listed)
    return name.lower().replace("-", "") or "resnet50"


def _weight(found: UnwrappedCheckpoint, key: str, network: str) -> Tensor:
    if key not in found.state:
        raise StvmError(
            f"checkpoint {found.path} lacks {found.prefix}{key}: it is no {network} of torchvision"
        )
    return found.state[key]
