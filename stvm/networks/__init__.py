"""Segmentation networks: feature extractor F, classifier C, and heads of C's architecture."""

from stvm.networks.architecture import Architecture, Branches
from stvm.networks.aspp import RATES, SummedAspp
from stvm.networks.build import assemble, build_network
from stvm.networks.normalisation import NORMALISATIONS, Normalisation
from stvm.networks.resnet import FORMS, RESNET101, ResNet, ResNetForm, ResNetSize
from stvm.networks.segmentation_network import SegmentationNetwork, preserve_modes, upsample
from stvm.networks.small import SMALL_RATES, ResidualBlock, small_features
from stvm.networks.weights import count_parameters, load_weights
from stvm.networks.wrapping import wrap_network

__all__ = [
    "FORMS",
    "NORMALISATIONS",
    "RATES",
    "RESNET101",
    "SMALL_RATES",
    "Architecture",
    "Branches",
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
    "load_weights",
    "preserve_modes",
    "small_features",
    "upsample",
    "wrap_network",
]
