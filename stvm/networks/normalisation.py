"""How a network's pixels are normalised: each family of checkpoints has its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Images in [0, 1] become (image - mean) / std, then perhaps blue first.

    Attributes:
        about: for people.
        mean: RGB, in [0, 1].
        std: RGB, in [0, 1].
        bgr: the network takes blue first.
    """

    about: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_RGB = (122.67891434, 116.66876762, 104.00698793)

NORMALISATIONS = {
    "rgb_imagenet": Normalisation("RGB in [0, 1], ImageNet mean and deviation", *_IMAGENET, False),
    "bgr_imagenet": Normalisation("BGR in [0, 1], ImageNet mean and deviation", *_IMAGENET, True),
    "bgr_caffe": Normalisation(
        "BGR in 0 to 255, Caffe's mean",
        (_CAFFE_RGB[0] / 255, _CAFFE_RGB[1] / 255, _CAFFE_RGB[2] / 255),
        (1 / 255, 1 / 255, 1 / 255),
        True,
    ),
}
"""Name, as checkpoints keep it, to normalisation."""
