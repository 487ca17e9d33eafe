"""The embedded benchmark: drawn street scenes with labels, in two rendering styles."""

from stvm.data.streets.render import render_scene
from stvm.data.streets.styles import SOURCE_STYLE, TARGET_STYLE, Style, interpolate

__all__ = [
    "SOURCE_STYLE",
    "TARGET_STYLE",
    "Style",
    "interpolate",
    "render_scene",
]
