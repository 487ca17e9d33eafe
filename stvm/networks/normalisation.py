"""Normalisation of the images: each family of checkpoints has its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Images in [0, 1] become (image - mean) / std; the order of the channels may be reversed.

    Attributes:
        about: Short text for people.
        mean: RGB mean, in [0, 1].
        std: RGB standard deviation, in [0, 1].
        bgr: Whether the network takes the channels in the order blue, green, red.
    """

    about: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_RGB = (122.67891434, 116.66876762, 104.00698793)

OWN = "own"
"""Name where the network brings mean and deviation of its own, which its builder knows."""

NORMALISATIONS = {
    "rgb_imagenet": Normalisation("RGB in [0, 1], ImageNet mean and deviation", *_IMAGENET, False),
    "bgr_imagenet": Normalisation("BGR in [0, 1], ImageNet mean and deviation", *_IMAGENET, True),
    "bgr_caffe": Normalisation(
        "BGR in 0 to 255, Caffe's mean",
        (_CAFFE_RGB[0] / 255, _CAFFE_RGB[1] / 255, _CAFFE_RGB[2] / 255),
        (1 / 255, 1 / 255, 1 / 255),
        True,
    ),
    OWN: Normalisation("mean and deviation of the network itself", *_IMAGENET, False),
}
"""Normalisations by the name that a checkpoint keeps."""
