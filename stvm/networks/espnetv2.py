"""ESPNetv2 (Mehta, Rastegari, Shapiro, Hajishirzi 2019), a network for machines without a GPU.

The names of the modules are those of the public files, so that their keys fit. F is everything up
to the last merge of encoder and decoder, C is the last pyramid pooling.
"""

import math
from functools import partial

from torch import Tensor, nn

from stvm.networks.architecture import Architecture
from stvm.networks.eesp import DownSampler, EespUnit, conv_norm_act, halved
from stvm.networks.known_networks import WIDTHS
from stvm.networks.pyramid_pooling import (
    PyramidPooling,
    decoder_layer,
    draw_weights,
    enlarged,
)
from stvm.networks.segmentation_network import SegmentationNetwork

DECODED = (64, 48, 32)
"""Channels of the decoder at 1/8, 1/4 and 1/2."""
UNITS = (3, 7)
"""Units of the encoder behind the down-samplers to 1/8 and to 1/16."""


class Encoder(nn.Module):
    """The encoder without its last level, which only ImageNet's classes need.

    Args:
        channels: Channels at 1/2, 1/4, 1/8 and 1/16.
    """

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.level1 = conv_norm_act(3, channels[0], 3, stride=2)
        self.level2_0 = DownSampler(channels[0], channels[1], 13)
        self.level3_0 = DownSampler(channels[1], channels[2], 11)
        self.level3 = _units(UNITS[0], channels[2], 9)
        self.level4_0 = DownSampler(channels[2], channels[3], 9)
        self.level4 = _units(UNITS[1], channels[3], 7)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> maps at 1/2, 1/4, 1/8 and 1/16."""
        quarter = halved(halved(images))
        eighth = halved(quarter)
        first = self.level1(images)
        second = self.level2_0(first, quarter)
        third = self.level3(self.level3_0(second, eighth))
        fourth = self.level4(self.level4_0(third, halved(eighth)))
        return first, second, third, fourth


def _units(number: int, channels: int, largest_field: int) -> nn.Module:
    return nn.Sequential(*(EespUnit(channels, channels, largest_field) for _ in range(number)))


class WeightedProjection(nn.Module):
    """A grouped convolution whose channels are weighted by the means over the image.

    Args:
        inputs: Number of channels of the input.
        outputs: Number of channels of the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid()
        )
        self.expansion_layer = decoder_layer(inputs, outputs, 3, groups=math.gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        projected: Tensor = self.expansion_layer(x) * self.wt_layer(x)
        return projected


class EspNetFeatures(nn.Module):
    """Encoder and decoder up to the last merge; heights and widths may be odd.

    Args:
        width: Key of `WIDTHS`.
        projection: Channels of each map within a pyramid pooling.
    """

    def __init__(self, width: float, projection: int) -> None:
        super().__init__()
        channels = WIDTHS[width]
        self.base_net = Encoder(channels)
        self.bu_dec_l1 = PyramidPooling(channels[3], projection, DECODED[0])
        self.bu_dec_l2 = PyramidPooling(DECODED[0], projection, DECODED[1])
        self.bu_dec_l3 = PyramidPooling(DECODED[1], projection, DECODED[2])
        self.merge_enc_dec_l2 = WeightedProjection(channels[2], DECODED[0])
        self.merge_enc_dec_l3 = WeightedProjection(channels[1], DECODED[1])
        self.merge_enc_dec_l4 = WeightedProjection(channels[0], DECODED[2])
        self.bu_br_l2 = _norm_act(DECODED[0])
        self.bu_br_l3 = _norm_act(DECODED[1])
        self.bu_br_l4 = _norm_act(DECODED[2])
        self.apply(draw_weights)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features (N, 32, H / 2, W / 2)."""
        half, quarter, eighth, sixteenth = self.base_net(images)
        decoded = self.bu_dec_l1(sixteenth)
        decoded = self.bu_br_l2(_merged(self.merge_enc_dec_l2, eighth, decoded))
        decoded = self.bu_dec_l2(decoded)
        decoded = self.bu_br_l3(_merged(self.merge_enc_dec_l3, quarter, decoded))
        decoded = self.bu_dec_l3(decoded)
        features: Tensor = self.bu_br_l4(_merged(self.merge_enc_dec_l4, half, decoded))
        return features


def _merged(projection: nn.Module, encoded: Tensor, decoded: Tensor) -> Tensor:
    """The projected maps of the encoder plus those of the decoder at their size."""
    projected: Tensor = projection(encoded)
    return projected + enlarged(decoded, (encoded.shape[-2], encoded.shape[-1]))


def _norm_act(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def espnetv2(architecture: Architecture) -> SegmentationNetwork:
    """The network that an architecture describes, with random weights.

    Args:
        architecture: Description, with a width in `WIDTHS`.
    """
    projection = architecture.projection
    features = EspNetFeatures(architecture.width, projection)
    classifier = PyramidPooling(
        DECODED[2], projection, architecture.num_classes, True, architecture.idle_outputs
    )
    head = partial(espnetv2_head, projection)
    return SegmentationNetwork(architecture, features, classifier, head)


def espnetv2_head(projection: int, out_channels: int) -> nn.Module:
    """A head of the classifier's architecture with random weights and `out_channels` outputs."""
    return PyramidPooling(DECODED[2], projection, out_channels, last=True)
