"""A plain folder of images without labels: what it holds, and the size at which it is read.

Only images that lie in the folder itself are read. Folders below it, of labels for example, are
left alone.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from stvm.data.image_names import IMAGE_SUFFIXES
from stvm.data.listed_images import files_that_end_in, of_other_kinds, pictures_in
from stvm.data.path_hints import did_you_mean
from stvm.errors import StvmError
from stvm.files import unreadable
from stvm.files.digests import Digests
from stvm.settings.protocols import Size

PIXELS = 170_000
"""Pixels of an image at the size that is chosen if none is asked for, as 480x352 has."""
MULTIPLE = 16
"""Divisor of a chosen height and width, and the least of both."""


def photo_paths(folder: Path) -> list[Path]:
    """Images of a folder, at least two, sorted by stem.

    Raises:
        StvmError: No such folder, fewer than two images in it, or two with the same stem.
    """
    if not folder.is_dir():
        what = "is a file: name a folder of images" if folder.is_file() else "is not there"
        raise StvmError(f"{folder} {what}")
    try:
        paths = pictures_in(folder)
    except OSError as error:
        raise unreadable(folder, error, "name another folder") from None
    if not paths:
        below = did_you_mean(folder, lambda place: folder in place.parents and _has_images(place))
        raise StvmError(
            f"{folder}: no image lies in this folder itself: files that end in "
            f"{', '.join(IMAGE_SUFFIXES)} are read{of_other_kinds(folder)}{below}"
        )
    if len(paths) == 1:
        raise StvmError(
            f"{paths[0]} is the only image in {folder}: adaptation needs two or more"
            f"{of_other_kinds(folder)}"
        )
    return paths


def _has_images(place: Path) -> bool:
    """Whether images lie in a folder whose name does not say that they are labels."""
    if "label" in place.name.lower():
        return False
    return bool(files_that_end_in(IMAGE_SUFFIXES, place))


def adaptation_size(own: Size, height: int = 0, width: int = 0) -> Size:
    """Height and width at which images are adapted to.

    Args:
        own: Height and width of the first image, whose shape is kept as far as nothing is given.
        height: Height asked for; 0 for none.
        width: Width asked for; 0 for none.
    """
    if height and width:
        return height, width
    if height or width:
        scale = height / own[0] if height else width / own[1]
    else:
        scale = min(1.0, (PIXELS / (own[0] * own[1])) ** 0.5)
    return height or _rounded(scale * own[0]), width or _rounded(scale * own[1])


def _rounded(pixels: float) -> int:
    return max(MULTIPLE, MULTIPLE * round(pixels / MULTIPLE))


def photos_sha256(paths: Sequence[Path], cache: Path) -> str:
    """One digest over names and contents of images.

    Args:
        paths: Images in the order in which they are read.
        cache: Folder that keeps the digests of unchanged files.

    Raises:
        StvmError: An image cannot be read.
    """
    digests = Digests(cache).of(paths)
    named = [f"{path.name} {digest}" for path, digest in zip(paths, digests, strict=True)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()
