"""Segmentation networks: feature extractor F, classifier C, and heads of C's architecture.

Each name is imported when it is first used: settings ask the registry of networks, and commands
that only list load no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stvm.networks.architecture import Architecture, Branches
    from stvm.networks.aspp import RATES, SummedAspp
    from stvm.networks.build import assemble, build_network
    from stvm.networks.known_networks import NetworkFacts, find_network, known_names
    from stvm.networks.normalisation import NORMALISATIONS, Normalisation
    from stvm.networks.resnet import FORMS, RESNET101, ResNet, ResNetForm, ResNetSize
    from stvm.networks.segmentation_network import SegmentationNetwork, preserve_modes, upsample
    from stvm.networks.small import SMALL_RATES, ResidualBlock, small_features
    from stvm.networks.weights import count_parameters, load_weights
    from stvm.networks.wrapping import wrap_network

_MODULES = {
    "Architecture": "stvm.networks.architecture",
    "Branches": "stvm.networks.architecture",
    "FORMS": "stvm.networks.resnet",
    "NORMALISATIONS": "stvm.networks.normalisation",
    "NetworkFacts": "stvm.networks.known_networks",
    "Normalisation": "stvm.networks.normalisation",
    "RATES": "stvm.networks.aspp",
    "RESNET101": "stvm.networks.resnet",
    "ResNet": "stvm.networks.resnet",
    "ResNetForm": "stvm.networks.resnet",
    "ResNetSize": "stvm.networks.resnet",
    "ResidualBlock": "stvm.networks.small",
    "SMALL_RATES": "stvm.networks.small",
    "SegmentationNetwork": "stvm.networks.segmentation_network",
    "SummedAspp": "stvm.networks.aspp",
    "assemble": "stvm.networks.build",
    "build_network": "stvm.networks.build",
    "count_parameters": "stvm.networks.weights",
    "find_network": "stvm.networks.known_networks",
    "known_names": "stvm.networks.known_networks",
    "load_weights": "stvm.networks.weights",
    "preserve_modes": "stvm.networks.segmentation_network",
    "small_features": "stvm.networks.small",
    "upsample": "stvm.networks.segmentation_network",
    "wrap_network": "stvm.networks.wrapping",
}
"""Module of each name."""

__all__ = [
    "FORMS",
    "NORMALISATIONS",
    "RATES",
    "RESNET101",
    "SMALL_RATES",
    "Architecture",
    "Branches",
    "NetworkFacts",
    "Normalisation",
    "ResNet",
    "ResNetForm",
    "ResNetSize",
    "ResidualBlock",
    "SegmentationNetwork",
    "SummedAspp",
    "assemble",
    "build_network",
    "count_parameters",
    "find_network",
    "known_names",
    "load_weights",
    "preserve_modes",
    "small_features",
    "upsample",
    "wrap_network",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'stvm.networks' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
