"""Photometric noise on the student's input: colour jitter and blur, drawn for each image."""

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
    """Colour jitter and Gaussian blur of torchvision, a draw of its own for each image.

    The draws are those of `ColorJitter`: factors uniform around 1, hue around 0, in random order.
    They come from torch's global CPU generator, which the trainer seeds. Geometry is never
    touched: pseudo-labels stay in place.

    Args:
        strength: of brightness, contrast and saturation; hue moves by half of it, at most 0.5.
        probability: share of images jittered.
        blur_probability: share of images blurred, sigma 0.15 to 1.15 (DACS's range).
    """

    def __init__(self, strength: float, probability: float, blur_probability: float) -> None:
        self.strength = strength
        self.probability = probability
        self.blur_probability = blur_probability

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> the same with noise, in [0, 1]."""
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
    """The identity that stands where Aug is off."""
    return images
