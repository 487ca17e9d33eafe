"""The rendering styles of source and target: paint, light, lens and layout."""

from dataclasses import dataclass, fields

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Style:
    """Paint, light, lens and layout of a scene.

    Colours and amplitudes are on the scale 0 to 1, lengths in pixels of an image 64 high.

    Attributes:
        paint: Mean colour of each class.
        variety: Standard deviation of an object's colour around its class's.
        texture: Amplitude of the pattern on surfaces.
        light: Least and most brightness, drawn for each image.
        tint: Factor on each channel.
        haze: Least and most share of haze at the horizon.
        haze_colour: Colour of the haze.
        noise: Standard deviation of the sensor's noise.
        blur: Least and most radius of the lens's blur.
        vignette: Darkening of the corners.
        horizon: Mean height of the horizon, as a share of the image from the top.
        road: Mean half width of the road at the lower edge, as a share of the width.
        crowd: Factor on the number of people and vehicles.
        nearness: Mean closeness of objects, 0 at the horizon and 1 at the lower edge.
    """

    paint: tuple[Colour, ...]
    variety: float
    texture: float
    light: tuple[float, float]
    tint: Colour
    haze: tuple[float, float]
    haze_colour: Colour
    noise: float
    blur: tuple[float, float]
    vignette: float
    horizon: float
    road: float
    crowd: float
    nearness: float


SOURCE_STYLE = Style(
    paint=(
        (0.36, 0.36, 0.38),
        (0.62, 0.58, 0.56),
        (0.58, 0.48, 0.42),
        (0.66, 0.64, 0.58),
        (0.52, 0.42, 0.32),
        (0.30, 0.30, 0.30),
        (0.16, 0.17, 0.15),
        (0.80, 0.72, 0.18),
        (0.22, 0.46, 0.18),
        (0.46, 0.58, 0.26),
        (0.52, 0.74, 0.94),
        (0.72, 0.42, 0.34),
        (0.66, 0.30, 0.44),
        (0.42, 0.44, 0.62),
        (0.70, 0.54, 0.30),
        (0.80, 0.34, 0.22),
        (0.66, 0.66, 0.74),
        (0.26, 0.24, 0.34),
        (0.24, 0.34, 0.36),
    ),
    variety=0.05,
    texture=0.03,
    light=(0.95, 1.05),
    tint=(1.0, 1.0, 1.0),
    haze=(0.0, 0.05),
    haze_colour=(0.85, 0.88, 0.92),
    noise=0.01,
    blur=(0.0, 0.1),
    vignette=0.0,
    horizon=0.42,
    road=0.62,
    crowd=1.0,
    nearness=0.45,
)

TARGET_STYLE = Style(
    paint=(
        (0.42, 0.40, 0.40),
        (0.54, 0.50, 0.50),
        (0.50, 0.46, 0.46),
        (0.56, 0.54, 0.48),
        (0.44, 0.40, 0.36),
        (0.38, 0.38, 0.36),
        (0.20, 0.20, 0.18),
        (0.62, 0.60, 0.34),
        (0.30, 0.40, 0.24),
        (0.50, 0.50, 0.32),
        (0.76, 0.80, 0.82),
        (0.48, 0.40, 0.38),
        (0.46, 0.36, 0.42),
        (0.46, 0.46, 0.52),
        (0.58, 0.52, 0.44),
        (0.60, 0.42, 0.34),
        (0.56, 0.58, 0.62),
        (0.30, 0.28, 0.32),
        (0.30, 0.34, 0.36),
    ),
    variety=0.07,
    texture=0.09,
    light=(0.80, 1.02),
    tint=(1.03, 1.0, 0.93),
    haze=(0.05, 0.20),
    haze_colour=(0.78, 0.76, 0.72),
    noise=0.035,
    blur=(0.2, 0.7),
    vignette=0.2,
    horizon=0.46,
    road=0.52,
    crowd=1.3,
    nearness=0.38,
)


def interpolate(source: Style, target: Style, amount: float) -> Style:
    """The style `amount` of the way from `source` (0) to `target` (1)."""

    def between(a: object, b: object) -> object:
        mixed = (1 - amount) * np.asarray(a, float) + amount * np.asarray(b, float)
        return _tuples(mixed.tolist())

    return Style(
        **{
            f.name: between(getattr(source, f.name), getattr(target, f.name))  # type: ignore[arg-type]
            for f in fields(Style)
        }
    )


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
