"""Paints a street scene in a style: colour, texture, light, haze, lens and noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from stvm.data.streets.scene_layout import lay_out
from stvm.data.streets.shapes import Shape
from stvm.data.streets.styles import Style

Pixels = NDArray[np.float32]


def render_scene(
    seed: int | Sequence[int], style: Style, height: int = 64, width: int = 128
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One street scene with exact labels; equal arguments give equal bytes.

    Args:
        seed: Seed of the scene.
        style: Style of its layout, paint, light and lens.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Image (height, width, 3) RGB and label (height, width), train ids of Cityscapes.
    """
    rng = np.random.default_rng(seed)
    shapes = lay_out(rng, style, height, width)
    colours, label = _paint(rng, style, shapes, height, width)
    image = _photograph(rng, style, _weather(rng, style, _textured(rng, style, colours, label)))
    return image, label


def _paint(
    rng: np.random.Generator, style: Style, shapes: list[Shape], height: int, width: int
) -> tuple[Pixels, NDArray[np.uint8]]:
    canvas = Image.new("RGB", (width, height))
    labels = Image.new("L", (width, height))
    draw, mark = ImageDraw.Draw(canvas), ImageDraw.Draw(labels)
    offsets = rng.normal(0, style.variety, (shapes[-1].thing + 1, 3))
    for shape in shapes:
        colour = (np.array(style.paint[shape.label]) + offsets[shape.thing]) * shape.shade
        fill = tuple(int(v) for v in np.clip(colour, 0, 1) * 255)
        if shape.kind == "polygon":
            draw.polygon(shape.points, fill=fill)
            mark.polygon(shape.points, fill=shape.label)
        elif shape.kind == "box":
            draw.rectangle(shape.points, fill=fill)
            mark.rectangle(shape.points, fill=shape.label)
        else:
            draw.ellipse(shape.points, fill=fill)
            mark.ellipse(shape.points, fill=shape.label)
    painted = (np.asarray(canvas) / 255).astype(np.float32)
    return painted, np.array(labels, np.uint8)


def _textured(
    rng: np.random.Generator, style: Style, image: Pixels, label: NDArray[np.uint8]
) -> Pixels:
    """Coarse blotches everywhere and, on plants and ground, grain of twice their strength."""
    height, width = label.shape
    coarse = rng.normal(0, 1, (height // 4 + 1, width // 4 + 1)).astype(np.float32)
    blotches = np.asarray(
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR), np.float32
    )
    grain = rng.normal(0, 1, label.shape).astype(np.float32)
    rough = np.isin(label, (0, 8, 9))
    pattern = style.texture * (blotches + np.where(rough, 1.5 * grain, 0.3 * grain))
    textured: Pixels = image * (1 + pattern[..., None])
    return textured


def _weather(rng: np.random.Generator, style: Style, image: Pixels) -> Pixels:
    """Haze that thickens towards the horizon."""
    height = len(image)
    rows = np.arange(height, dtype=np.float32) / height
    share = np.exp(-np.abs(rows - style.horizon) * 4) * rng.uniform(*style.haze)
    haze = share[:, None, None].astype(np.float32)
    hazy: Pixels = image * (1 - haze) + haze * np.array(style.haze_colour, np.float32)
    return hazy


def _photograph(rng: np.random.Generator, style: Style, image: Pixels) -> NDArray[np.uint8]:
    """Light, lens and sensor."""
    height, width = image.shape[:2]
    image = image * np.array(style.tint, np.float32) * np.float32(rng.uniform(*style.light))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    image *= 1 - np.float32(style.vignette / 2) * (x * x + y * y)[..., None]
    exposed = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    radius = float(rng.uniform(*style.blur)) * height / 64
    blurred = exposed.filter(ImageFilter.GaussianBlur(radius)) if radius > 0.15 else exposed
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, 255 * style.noise, image.shape)
    taken: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return taken
