"""One image or label file as it is stored; what cannot be read is refused by name.

Pixels are taken as stored: an EXIF orientation is not applied, so that an image and its label stay
aligned.
"""

import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from stvm.errors import StvmError

Uint8Array = NDArray[np.uint8]

_IMAGE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_LABEL_MODES = ("L", "P")
# Pillow stretches grey PNG files of 2 and 4 bits to 0..255, which changes the ids.
_STRETCHED_RAW_MODES = ("L;2", "L;4")
_THREE_CHANNELS_OF_16_BITS = "RGB;16B"
_READ_ERRORS = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


def read_rgb(path: Path) -> Image.Image:
    """Reads an image file as RGB at its stored size.

    Raises:
        StvmError: the file cannot be read or has more than 8 bits per channel.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        if image.mode not in _IMAGE_MODES:
            raise StvmError(
                f"{path}: image mode {image.mode} is not supported; "
                "save it as an RGB image of 8 bits per channel"
            )
        return loaded(path, image).convert("RGB")


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, from its header.

    Raises:
        StvmError: the file cannot be read.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        return image.size


def read_ids(path: Path) -> Uint8Array:
    """Ids (H, W) of an 8-bit label file: its grey values, or the indices of its palette.

    Raises:
        StvmError: the file cannot be read or is no single channel of 8 bits.
    """
    with opened(path, ("PNG",)) as label:
        check_label_mode(path, label)
        return np.array(loaded(path, label), dtype=np.uint8)


def read_first_channel(path: Path) -> NDArray[np.uint16]:
    """First channel (H, W) of a PNG file of three 16-bit channels, which holds SYNTHIA's classes.

    Pillow reads the upper byte of each value and so finds class 0 everywhere. OpenCV does not, but
    fills up what is missing of a file that was cut off: see `check_intact`.

    Raises:
        StvmError: the file cannot be read or is stored otherwise.
    """
    with opened(path, ("PNG",)) as label:
        raw_mode = _raw_mode(label)
        if raw_mode != _THREE_CHANNELS_OF_16_BITS:
            raise StvmError(
                f"{path}: label mode is {raw_mode}, not three channels of 16 bits; take the "
                "file as it was published: one that was saved again may have lost its classes"
            )
    blue_green_red = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if blue_green_red is None:
        raise _unreadable(path, "PNG", OSError("damaged"))
    return np.ascontiguousarray(blue_green_red[..., 2], dtype=np.uint16)


def check_intact(path: Path) -> None:
    """Compare a PNG file with the checksums in it, which decoding does not look at.

    Raises:
        StvmError: it is cut off, or was damaged when it was copied.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        kind = str(image.format)
        try:
            image.verify()
        except _READ_ERRORS as error:
            raise _unreadable(path, kind, error) from error


def opened(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """An image file whose pixels are not read yet.

    Raises:
        StvmError: no file of these formats.
    """
    try:
        return Image.open(path, formats=formats)
    except _READ_ERRORS as error:
        raise _unreadable(path, " or ".join(formats), error) from error


def loaded(path: Path, image: Image.Image) -> Image.Image:
    """The image with its pixels.

    Raises:
        StvmError: the file is cut off or damaged.
    """
    try:
        image.load()
    except _READ_ERRORS as error:
        raise _unreadable(path, str(image.format), error) from error
    return image


def check_label_mode(path: Path, label: Image.Image) -> None:
    """Refuse what Pillow does not hand out as the ids that are stored.

    Raises:
        StvmError: no single channel of 8 bits.
    """
    raw_mode = _raw_mode(label)
    if label.mode not in _LABEL_MODES or raw_mode in _STRETCHED_RAW_MODES:
        raise StvmError(
            f"{path}: label mode is {raw_mode}, not 8-bit single-channel (L or P); "
            "save the class ids as an 8-bit grey PNG"
        )


def size_text(size: tuple[int, int]) -> str:
    """Width and height for people."""
    return f"{size[0]}x{size[1]} (width x height)"


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return str(tiles[0].args) if tiles else image.mode


def _unreadable(path: Path, kind: str, error: Exception) -> StvmError:
    reason = " ".join(str(error).split())
    return StvmError(f"{path}: cannot be read as {kind} ({reason}); copy or save the file again")
