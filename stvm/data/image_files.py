"""Reads one image or label file; an error names the file and says what to do.

An image is read as a viewer shows it, turned by its EXIF orientation. OpenCV and labelling tools do
the same. A label is read as it is stored; a label with an EXIF orientation is refused.
"""

import struct
import warnings
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
_READ_ERRORS = (OSError, SyntaxError, ValueError, struct.error)
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_LFS_POINTER = b"version https://git-lfs"
_JPEG_SCAN, _JPEG_END = 0xDA, b"\xff\xd9"


def read_rgb(path: Path) -> Image.Image:
    """Reads an image file as RGB, turned as a viewer shows it.

    Of channels with 16 bits the upper 8 are taken, as viewers do.

    Raises:
        StvmError: The file cannot be read, is 16-bit grey, or has transparent pixels.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        if image.mode not in _IMAGE_MODES:
            raise StvmError(
                f"{path}: image mode {image.mode} is not supported; "
                "save it as an RGB image of 8 bits per channel"
            )
        loaded(path, image)
        if image.has_transparency_data and _is_transparent(image):
            raise StvmError(
                f"{path}: has transparent pixels, whose colour is not defined; put the image on a "
                "background and save it as RGB"
            )
        turn = _TURNS.get(_orientation(image))
        rgb = image.convert("RGB")
        return rgb if turn is None else rgb.transpose(turn)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as a viewer shows it, from the header of its file.

    Raises:
        StvmError: The file cannot be read.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def is_turned(path: Path) -> bool:
    """True if the file's EXIF orientation turns or mirrors the image.

    Raises:
        StvmError: The file cannot be read.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        return _orientation(image) in _TURNS


def read_ids(path: Path) -> Uint8Array:
    """Ids (H, W) of an 8-bit label file: its grey values, or the indices of its palette.

    Raises:
        StvmError: The file cannot be read, is not a single channel of 8 bits, or has an EXIF
            orientation.
    """
    with opened(path, ("PNG",)) as label:
        check_label_mode(path, label)
        _refuse_turned(path, label)
        return np.array(loaded(path, label), dtype=np.uint8)


def read_first_channel(path: Path) -> NDArray[np.uint16]:
    """First channel (H, W) of a PNG file of three 16-bit channels, which holds SYNTHIA's classes.

    OpenCV reads it, because Pillow keeps only the upper byte of each value, which is 0 everywhere.

    Raises:
        StvmError: The file cannot be read or has another format.
    """
    with opened(path, ("PNG",)) as label:
        raw_mode = _raw_mode(label)
        if raw_mode != _THREE_CHANNELS_OF_16_BITS:
            raise StvmError(
                f"{path}: label mode is {raw_mode}, not three channels of 16 bits; take the "
                "file as it was published: one that was saved again may have lost its classes"
            )
        _refuse_turned(path, label)
    blue_green_red = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if blue_green_red is None:
        raise _unreadable(path, "PNG", OSError("damaged"))
    return np.ascontiguousarray(blue_green_red[..., 2], dtype=np.uint16)


def check_intact(path: Path) -> None:
    """Looks for damage that Pillow does not notice when it decodes.

    A PNG file is compared with the checksums in it. A JPEG file has none; its end marker is looked
    for.

    Raises:
        StvmError: The file is cut off, or was damaged when it was copied.
    """
    with opened(path, ("PNG", "JPEG")) as image:
        kind = str(image.format)
        try:
            image.verify()
        except _READ_ERRORS as error:
            raise _unreadable(path, kind, error) from error
    if kind != "PNG" and not _has_end(path.read_bytes()):
        raise _unreadable(path, kind, OSError("its end is missing"))


def check_image(path: Path) -> bool:
    """Checks that an image can be read; a plain PNG file is not decoded, its checksums suffice.

    Returns:
        True if the file's EXIF orientation turns or mirrors the image.

    Raises:
        StvmError: The file cannot be read.
    """
    check_intact(path)
    with opened(path, ("PNG", "JPEG")) as image:
        turned = _orientation(image) in _TURNS
        is_plain = image.mode in _IMAGE_MODES and not image.has_transparency_data
    if not (is_plain and image.format == "PNG"):
        read_rgb(path)
    return turned


def opened(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """Opens an image file without reading its pixels.

    Raises:
        StvmError: The file has none of these formats, holds several pictures, or is too large.
    """
    try:
        # Pillow warns above half of the size that it refuses.
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        count = str(error).partition(",")[0]
        raise StvmError(f"{path}: too large: {count}; save it with fewer pixels") from error
    except _READ_ERRORS as error:
        raise _unreadable(path, " or ".join(formats), _what_it_is(path) or error) from error
    # A JPEG file with a second picture is a photo with a depth or brightness map; it is fine.
    if image.format == "PNG" and getattr(image, "is_animated", False):
        image.close()
        raise StvmError(f"{path}: is an animation; save one picture of it as PNG")
    return image


def loaded(path: Path, image: Image.Image) -> Image.Image:
    """The same image, after its pixels are read.

    Raises:
        StvmError: The file is cut off or damaged.
    """
    try:
        image.load()
    except _READ_ERRORS as error:
        raise _unreadable(path, str(image.format), error) from error
    return image


def check_label_mode(path: Path, label: Image.Image) -> None:
    """Refuses a format whose stored ids Pillow would change.

    Raises:
        StvmError: The file is not a single channel of 8 bits.
    """
    raw_mode = _raw_mode(label)
    if label.mode not in _LABEL_MODES or raw_mode in _STRETCHED_RAW_MODES:
        raise StvmError(
            f"{path}: label mode is {raw_mode}, not 8-bit single-channel (L or P); "
            "save the class ids as an 8-bit grey PNG"
        )


def _has_end(jpeg: bytes) -> bool:
    """True if an end marker follows the first scan of a JPEG picture.

    A thumbnail before the scan has an end marker of its own, which must not count. Cameras append
    other data after the picture, so the marker need not be at the end of the file.
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] == _JPEG_SCAN:
            return _JPEG_END in jpeg[at:]
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") if jpeg[at + 1] != 0xFF else 1
    return True


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if there is none or it cannot be read."""
    try:
        # The method of PNG images would decode the pixels first.
        with warnings.catch_warnings(action="ignore"):
            return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except (*_READ_ERRORS, TypeError, KeyError, OverflowError):
        return 1


def _refuse_turned(path: Path, label: Image.Image) -> None:
    if _orientation(label) in _TURNS:
        raise StvmError(
            f"{path}: the label has an EXIF orientation; rotate its pixels to fit the image and "
            "save it without an orientation"
        )


def _is_transparent(image: Image.Image) -> bool:
    least, _ = image.convert("RGBA").getchannel("A").getextrema()
    return isinstance(least, int) and least < 255


def _what_it_is(path: Path) -> OSError | None:
    """The reason why a file does not open as the expected format; None if it is unknown."""
    try:
        start = path.read_bytes()[:64] if path.stat().st_size < 10_000 else b"?"
        if not start:
            return OSError("the file is empty")
        if start.startswith(_LFS_POINTER):
            return OSError("it is a Git LFS pointer: run git lfs pull")
        with Image.open(path) as other:
            return OSError(f"it is a {other.format} file, whatever its name says")
    except (*_READ_ERRORS, Image.DecompressionBombError):
        return None


def size_text(size: tuple[int, int]) -> str:
    """Width and height as text for a message."""
    return f"{size[0]}x{size[1]} (width x height)"


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return str(tiles[0].args) if tiles else image.mode


def _unreadable(path: Path, kind: str, error: Exception) -> StvmError:
    reason = " ".join(str(error).split())
    return StvmError(f"{path}: cannot be read as {kind} ({reason}); copy or save the file again")
