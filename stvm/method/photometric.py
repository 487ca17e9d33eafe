"""Photometric augmentation of the student's input: colour jitter and blur, drawn for each image."""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

_JITTERS = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)
_BLUR_SIGMA = (0.15, 1.15)


class PhotometricAugmentation:
    """Colour jitter and Gaussian blur of torchvision, drawn anew for each image.

    Brightness, contrast and saturation are multiplied by factors uniform around 1, and the hue is
    shifted by a value uniform around 0, in random order, as in torchvision's `ColorJitter`. The
    draws come from torch's global CPU generator. Pixels stay in place, and so do pseudo-labels.

    Args:
        strength: Largest change of brightness, contrast and saturation, in [0, 1]; the hue changes
            by at most half of it.
        probability: Share of images whose colours change, in [0, 1].
        blur_probability: Share of images blurred, in [0, 1], with sigma 0.15 to 1.15 pixels.
    """

    def __init__(
        self, strength: float = 0.25, *, probability: float = 0.8, blur_probability: float = 0.5
    ) -> None:
        self.strength = strength
        self.probability = probability
        self.blur_probability = blur_probability

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> augmented images (N, 3, H, W) in [0, 1]."""
        return torch.stack([self._noisy(image) for image in images]).clamp(0.0, 1.0)

    def _noisy(self, image: Tensor) -> Tensor:
        jittered, blurred, place, *moves = torch.rand(7).tolist()
        if jittered < self.probability:
            factors = [1 + self.strength * (2 * move - 1) for move in moves[:3]]
            factors.append(min(0.5, self.strength / 2) * (2 * moves[3] - 1))
            for index in torch.randperm(len(_JITTERS)).tolist():
                image = _JITTERS[index](image, factors[index])
        if blurred < self.blur_probability:
            sigma = _BLUR_SIGMA[0] + (_BLUR_SIGMA[1] - _BLUR_SIGMA[0]) * place
            image = functional.gaussian_blur(image, [5, 5], [sigma, sigma])
        return image


def no_augmentation(images: Tensor) -> Tensor:
    """The identity: it takes the place of the augmentation if Aug is off."""
    return images
