"""Image files of a list, decoded on access, and the images and other pictures of one folder."""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stvm.data.image_files import Uint8Array, read_rgb
from stvm.data.image_names import IMAGE_SUFFIXES, OTHER_SUFFIXES, ending_of
from stvm.data.path_hints import composed, refuse_no_text
from stvm.errors import StvmError

DEFAULT_CACHE_BYTES = 2**30


class ListedImages:
    """Image files of a list, decoded on access.

    Args:
        paths: Image files.
        height: Height of the returned images, in pixels.
        width: Width of the returned images, in pixels.
        cache_bytes: Most bytes of decoded and resized arrays kept in memory.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        height: int,
        width: int,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self.height = height
        self.width = width
        self._image_paths = list(paths)
        self.names: tuple[str, ...] = tuple(path.stem for path in self._image_paths)
        self._cache = _ArrayCache(cache_bytes)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Uint8Array:
        """Image `index` as RGB (height, width, 3), resized bilinearly if its file differs in size.

        Raises:
            StvmError: The file cannot be read or has more than 8 bits per channel.
        """
        path = self._image_paths[index]
        return self._cache.get(
            path, lambda: self._resized(read_rgb(path), Image.Resampling.BILINEAR)
        )

    def _resized(self, image: Image.Image, resampling: Image.Resampling) -> Uint8Array:
        size = (self.width, self.height)
        if image.size != size:
            image = image.resize(size, resampling)
        return np.array(image, dtype=np.uint8)


class _ArrayCache:
    """Memory of the arrays used last, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._arrays: OrderedDict[Path, Uint8Array] = OrderedDict()
        self.bytes = 0

    def get(self, path: Path, decode: Callable[[], Uint8Array]) -> Uint8Array:
        """A copy of the array, so that the caller may change it in place."""
        if path in self._arrays:
            self._arrays.move_to_end(path)
            return self._arrays[path].copy()
        array = decode()
        if array.nbytes <= self._max_bytes:
            self._arrays[path] = array.copy()
            self.bytes += array.nbytes
        while self.bytes > self._max_bytes:
            self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


def pictures_in(folder: Path) -> list[Path]:
    """PNG and JPEG files of a folder, sorted by stem; empty if there are none.

    Raises:
        StvmError: Two images with the same stem, or a name that is no text.
    """
    paths = sorted(files_that_end_in(IMAGE_SUFFIXES, folder), key=lambda path: path.stem)
    first: dict[str, Path] = {}
    for path in paths:
        refuse_no_text(path)
        if (stem := composed(path.stem)) in first:
            raise StvmError(
                f"{path}: has the same stem as {first[stem].name}; rename or remove one of the two"
            )
        first[stem] = path
    return paths


def files_that_end_in(endings: Sequence[str], folder: Path) -> list[Path]:
    """Files of a folder that have one of these endings; a folder in it may be named so too."""
    with os.scandir(folder) as inside:
        return [folder / e.name for e in inside if ending_of(e.name, endings) and not e.is_dir()]


def left_out(folder: Path) -> str:
    """A line on the pictures of a folder whose file format is not read; empty without any."""
    others = pictures_of_other_kinds(folder)
    if not others:
        return ""
    what = "pictures are" if len(others) > 1 else "picture is"
    return (
        f"{folder}: {len(others)} {what} left out ({others[0].name}), since only PNG and JPEG "
        "files are read: save as one of these"
    )


def of_other_kinds(folder: Path) -> str:
    """Advice on the pictures of a folder whose file format is not read; empty if there are none."""
    others = pictures_of_other_kinds(folder)
    return f"; save {others[0].name} and so on as PNG or JPEG" if others else ""


def pictures_of_other_kinds(folder: Path) -> list[Path]:
    """Pictures of a folder whose file format is not read."""
    return sorted(files_that_end_in(OTHER_SUFFIXES, folder))
