"""The embedded benchmark: a deterministic procedural street in two rendering styles."""

from stvm.data.scenes.render import render_scene
from stvm.data.scenes.styles import (
    CLASSES,
    PALETTE,
    SOURCE_STYLE,
    TARGET_STYLE,
    Style,
    interpolate,
)

__all__ = [
    "CLASSES",
    "PALETTE",
    "SOURCE_STYLE",
    "TARGET_STYLE",
    "Style",
    "interpolate",
    "render_scene",
]
