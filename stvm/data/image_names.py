"""Names of image files: one rule for all that list the images of a folder."""

from collections.abc import Sequence

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Endings of images that are read."""
OTHER_SUFFIXES = (
    *(".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jp2", ".avif", ".heic"),
    *(".ppm", ".pgm", ".tga"),
)
"""Endings of pictures that are not read."""


def ending_of(name: str, endings: Sequence[str] = IMAGE_SUFFIXES) -> str:
    """The ending of an image's name as the file has it; empty if the file is no such image.

    Capitals make no difference. Hidden files, which macOS leaves beside others, are no images.

    Args:
        name: Name of a file, without its folder.
        endings: Endings of images.
    """
    if name.startswith("."):
        return ""
    lower = name.lower()
    found = next((ending for ending in endings if lower.endswith(ending.lower())), "")
    return name[len(name) - len(found) :]
