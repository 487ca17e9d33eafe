"""Photometric noise on the student's input: colour jitter and blur, drawn for each image."""

import torch
from torch import Tensor
from torchvision.transforms import v2


class PhotometricAugmentation:
    """Colour jitter and Gaussian blur of torchvision, a draw of its own for each image.

    The draws come from torch's global CPU generator, which the trainer seeds. Geometry is never
    touched: pseudo-labels stay in place.

    Args:
        strength: of brightness, contrast and saturation; hue moves by half of it, at most 0.5.
        probability: share of images jittered.
        blur_probability: share of images blurred, sigma 0.15 to 1.15 (DACS's range).
    """

    def __init__(self, strength: float, probability: float, blur_probability: float) -> None:
        jitter = v2.ColorJitter(strength, strength, strength, min(0.5, strength / 2))
        self.transform = v2.Compose(
            [
                v2.RandomApply([jitter], p=probability),
                v2.RandomApply([v2.GaussianBlur(5, (0.15, 1.15))], p=blur_probability),
            ]
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> the same with noise, in [0, 1]."""
        return torch.stack([self.transform(image) for image in images]).clamp(0.0, 1.0)


def no_augmentation(images: Tensor) -> Tensor:
    """The identity that stands where Aug is off."""
    return images
