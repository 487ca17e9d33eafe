"""The corruptions of images: fog, low light and sensor noise, each in five severities.

They are those of the `albumentations` library. Kind and random state of an image depend only on
the seed and the image's name.
"""

import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stvm.data.image_files import Uint8Array
from stvm.errors import StvmError

LIBRARY = "albumentations"
SEVERITIES = (1, 2, 3, 4, 5)

# One entry for each severity 1..5.
_FOG_CONTRAST = (-0.2, -0.35, -0.5, -0.6, -0.7)
_FOG_BRIGHTNESS = (0.17, 0.3, 0.42, 0.5, 0.6)
_FOG_DENSITY = (0.3, 0.4, 0.5, 0.6, 0.7)
_FOG_OPACITY = (0.05, 0.055, 0.06, 0.07, 0.08)
_LIGHT_LOSS = (-0.35, -0.45, -0.55, -0.65, -0.75)
_LIGHT_GAMMA_PERCENT = (100.0, 103.0, 106.0, 110.0, 115.0)
_LIGHT_NOISE_STD = (0.01, 0.015, 0.02, 0.025, 0.03)
_NOISE_STD = (0.05, 0.08, 0.12, 0.17, 0.24)


@dataclass(frozen=True)
class Corruption:
    """A choice of corruptions, with their severity and seed.

    Attributes:
        kinds: Names of `KINDS`; each image gets one of them.
        severity: Severity from 1 (slight) to 5 (heavy).
        seed: Seed of the draws.

    Raises:
        StvmError: No kind, an unknown or repeated kind, or a severity outside 1..5.
    """

    kinds: tuple[str, ...]
    severity: int
    seed: int

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise StvmError(
                f"kinds {' '.join(self.kinds)!r}: give one or more of {' '.join(KINDS)}, each once"
            )
        if self.severity not in SEVERITIES:
            raise StvmError(f"severity {self.severity}: must be in 1..{SEVERITIES[-1]}")

    def kind(self, name: str) -> str:
        """Draws the kind of the image with this stem."""
        kinds = sorted(self.kinds)
        return kinds[self._draw(name, "kind") % len(kinds)]

    def apply(self, image: Uint8Array, name: str) -> Uint8Array:
        """Corrupts an RGB image (H, W, 3) with the kind and random state of its name."""
        library = load_library()
        steps = KINDS[self.kind(name)](library, self.severity - 1)
        compose = library.Compose(steps, seed=self._draw(name, "pixels") % 2**32)
        return np.asarray(compose(image=image)["image"], dtype=np.uint8)

    def _draw(self, name: str, purpose: str) -> int:
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big")


def load_library() -> Any:
    """Imports the corruption library; its search for newer versions on the network is off.

    Raises:
        StvmError: The library is not installed.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        return importlib.import_module(LIBRARY)
    except ImportError as error:
        raise StvmError(
            f"{LIBRARY} cannot be imported ({error}); run: pip install -e '.[corrupt]'"
        ) from error


def _fog(library: Any, level: int) -> list[Any]:
    """A veil over the whole image (contrast towards grey-white), then drifting patches."""
    contrast, brightness = _FOG_CONTRAST[level], _FOG_BRIGHTNESS[level]
    density, opacity = _FOG_DENSITY[level], _FOG_OPACITY[level]
    return [
        _exposure(library, brightness, contrast),
        library.RandomFog(fog_coef_range=(density, density), alpha_coef=opacity, p=1.0),
    ]


def _low_light(library: Any, level: int) -> list[Any]:
    """Less light reaches the sensor; its noise stays the same and is therefore more visible."""
    gamma = _LIGHT_GAMMA_PERCENT[level]
    return [
        _exposure(library, 0.0, _LIGHT_LOSS[level]),
        library.RandomGamma(gamma_limit=(gamma, gamma), p=1.0),
        _gaussian_noise(library, _LIGHT_NOISE_STD[level]),
    ]


def _noise(library: Any, level: int) -> list[Any]:
    return [_gaussian_noise(library, _NOISE_STD[level])]


def _exposure(library: Any, brightness: float, contrast: float) -> Any:
    return library.RandomBrightnessContrast(
        brightness_limit=(brightness, brightness), contrast_limit=(contrast, contrast), p=1.0
    )


def _gaussian_noise(library: Any, std: float) -> Any:
    return library.GaussNoise(std_range=(std, std), p=1.0)


KINDS: dict[str, Callable[[Any, int], list[Any]]] = {
    "fog": _fog,
    "low_light": _low_light,
    "noise": _noise,
}
