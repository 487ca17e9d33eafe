"""The predictions of a network for any image: labels and, with a metric network, reliability."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stvm.data.batches import PIXELS, as_input
from stvm.data.image_files import Uint8Array
from stvm.evaluation.class_mapping import ClassMapping
from stvm.evaluation.evaluate import enlarged_logits, multi_scale_scores
from stvm.networks import SegmentationNetwork
from stvm.settings.protocols import IMAGE, Protocol, Size
from stvm.trial.metric_network_files import ReliabilityReader

MOST_PIXELS = 8_000_000
"""Largest map of scores: those of 19 classes take 600 MB. A larger image gets labels of this size,
enlarged to the nearest pixel."""
LEAST_SIDE = 16


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        labels: class ids (H, W) at the image's own size; 255 for a class that has no id.
        reliability: (H, W) in [0, 1]; None without a metric network.
        seen: height and width in pixels at which the network saw the image.
    """

    labels: Uint8Array
    reliability: NDArray[np.float32] | None
    seen: Size


@dataclass(frozen=True)
class Predictor:
    """A network and how images enter it.

    Attributes:
        network: network in eval mode.
        height: pixels to which an image's height is resized, its width in proportion; 0 for the
            image's own size, or as much of it as one pass takes.
        multi_scale: sum the softmax over the scales of `protocol`, mirrored too, as in evaluation.
        mirrored: sum the softmax of the image and its mirror image.
        reliability: reader from `open_metric`; None for no reliability.
        protocol: scales, and how logits are enlarged.
        mapping: mapping of the network's classes to those of the labels; None if they are the same.
    """

    network: SegmentationNetwork
    height: int = 0
    multi_scale: bool = False
    mirrored: bool = False
    reliability: ReliabilityReader | None = None
    protocol: Protocol = IMAGE
    mapping: ClassMapping | None = None

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> Prediction:
        """Predict an RGB image of any size."""
        own = (image.height, image.width)
        seen, scored = self.input_size(own), _within(own, MOST_PIXELS)
        device = next(self.network.parameters()).device
        pixels = as_input([_resized(image, seen, Image.Resampling.BICUBIC)], device)
        scores = self._scores(pixels, scored)
        labels = self.mapping.source_classes(scores) if self.mapping else scores.max(1).indices
        trusted = None
        if self.reliability:
            found = self.reliability(pixels, labels)[0].cpu().numpy()
            trusted = _resized(Image.fromarray(found), own, Image.Resampling.BILINEAR)
        if self.mapping:
            labels = self.mapping.target_classes(labels)
        ids = Image.fromarray(labels[0].to(torch.uint8).cpu().numpy())
        return Prediction(_resized(ids, own, Image.Resampling.NEAREST), trusted, seen)

    def input_size(self, own: Size) -> Size:
        """Height and width at which the network sees an image of this height and width."""
        if not self.height:
            return _within(own, PIXELS)
        width = max(LEAST_SIDE, round(own[1] * self.height / own[0]))
        return _within((self.height, width), PIXELS)

    def _scores(self, pixels: Tensor, size: Size) -> Tensor:
        if self.multi_scale:
            return multi_scale_scores(self.network, pixels, size, self.protocol)
        if self.mirrored:
            once = replace(self.protocol, scales=(1.0,), flip=True)
            return multi_scale_scores(self.network, pixels, size, once)
        return enlarged_logits(self.network, pixels, size, self.protocol)


def _within(size: Size, most: int) -> Size:
    """The size, made smaller in proportion where it has more than `most` pixels."""
    scale = min(1.0, (most / (size[0] * size[1])) ** 0.5)
    if scale == 1.0 and min(size) >= LEAST_SIDE:
        return size
    return max(LEAST_SIDE, int(size[0] * scale)), max(LEAST_SIDE, int(size[1] * scale))


def _resized(image: Image.Image, size: Size, resampling: Image.Resampling) -> NDArray[Any]:
    wanted = (size[1], size[0])
    return np.array(image if image.size == wanted else image.resize(wanted, resampling))
