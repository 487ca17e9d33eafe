"""A user's own images: `<split>/images/NAME.{png,jpg,jpeg}` and `<split>/labels/NAME.png`.

Labels are 8-bit single-channel PNG files whose values are class ids; 255 is ignored. A label fits
the image as a viewer shows it, turned by its EXIF orientation.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from stvm.data.classes import IGNORE_INDEX, ClassList
from stvm.data.image_files import Uint8Array, is_turned, read_ids, read_size, size_text
from stvm.data.label_encoding import look_alike
from stvm.data.listed_images import (
    DEFAULT_CACHE_BYTES,
    ListedImages,
    of_other_kinds,
    pictures_in,
)
from stvm.data.path_hints import composed, did_you_mean, near, why_not_there
from stvm.errors import StvmError

LAYOUT = "<root>/<split>/images/NAME.{png,jpg,jpeg}"


class FolderImages(ListedImages):
    """Images of one split, decoded on access; label files are never opened.

    Args:
        root: Folder that holds the splits.
        split: Name of the split's folder.
        height: Height of the returned images, in pixels.
        width: Width of the returned images, in pixels.
        cache_bytes: Most bytes of decoded and resized arrays kept in memory.

    Raises:
        StvmError: A missing or empty folder, or two images with the same stem.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        super().__init__(image_paths(Path(root), split), height, width, cache_bytes)


class LabelledFolder(FolderImages):
    """Images of one split with their labels, decoded on access.

    Args:
        root: Folder that holds the splits.
        split: Name of the split's folder.
        height: Height of the returned arrays, in pixels.
        width: Width of the returned arrays, in pixels.
        classes: Classes and their ids in the label files.
        cache_bytes: Most bytes of decoded arrays (images and labels) kept in memory.

    Raises:
        StvmError: A fault that `FolderImages` raises, or an image without label.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        classes: ClassList,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        super().__init__(root, split, height, width, cache_bytes)
        self.classes = classes
        self._label_paths = label_paths(self._image_paths)
        self._train_ids = classes.table()

    def label(self, index: int) -> Uint8Array:
        """Label `index` as train ids (height, width), 0..C-1 and 255 for ignored.

        Raises:
            StvmError: The file cannot be read, is not 8-bit single-channel, differs in size from
                its image, or holds an id outside the class list.
        """
        label_path, image_path = self._label_paths[index], self._image_paths[index]
        return self._cache.get(label_path, lambda: self._decode_label(label_path, image_path))

    def _decode_label(self, path: Path, image_path: Path) -> Uint8Array:
        ids = checked_ids(path, image_path, self.classes)
        return self._train_ids[self._resized(Image.fromarray(ids), Image.Resampling.NEAREST)]


def checked_ids(path: Path, image_path: Path, classes: ClassList) -> Uint8Array:
    """Ids of a label file (H, W) as they are stored, after a check against the class list.

    Raises:
        StvmError: The file cannot be read, is not 8-bit single-channel, differs in size from its
            image, or holds an id outside the class list.
    """
    image_size = read_size(image_path)
    ids = read_ids(path)
    size = (ids.shape[1], ids.shape[0])
    if size != image_size:
        turned = " as it is shown (EXIF orientation)" if is_turned(image_path) else ""
        raise StvmError(
            f"{path}: label is {size_text(size)} but its image {image_path} is "
            f"{size_text(image_size)}{turned}; save both at the same size"
        )
    present = np.unique(ids).tolist()
    outside = sorted(set(present) - {*classes.listed, IGNORE_INDEX})
    if outside:
        more = f" and {len(outside) - 8} more" if len(outside) > 8 else ""
        raise StvmError(
            f"{path}: ids {', '.join(map(str, outside[:8]))}{more} are not in the class list; add "
            f"them to classes as 'ID:NAME' ('ID:-' ignores them) or set these pixels to "
            f"{IGNORE_INDEX}"
            f"{look_alike(present, classes)}"
        )
    return ids


def image_paths(root: Path, split: str) -> list[Path]:
    """Images of a split, sorted by stem.

    Raises:
        StvmError: A missing or empty folder, or two images with the same stem.
    """
    folder = root / split / "images"
    for part, what in ((root, "data root"), (root / split, "split"), (folder, "images folder")):
        if not part.is_dir():
            # All such data sets have one layout: beside a missing source may lie the target.
            other = did_you_mean(
                root, lambda place: (place / split / "images").is_dir(), similar=True
            )
            hint, packed = why_not_there(part, root)
            raise StvmError(
                f"{part}: {what} is not a folder{hint}; the layout must be {LAYOUT}"
                f"{other or packed}"
            )
    paths = pictures_in(folder)
    if not paths:
        raise StvmError(
            f"{folder}: no image in this folder; the layout must be {LAYOUT}"
            f"{of_other_kinds(folder)}"
        )
    return paths


def label_paths(images: list[Path]) -> list[Path]:
    """Label file of each image of one split.

    Two names that differ only in the Unicode form of a letter count as equal: macOS writes another
    form than other systems.

    Raises:
        StvmError: An image without label.
    """
    folder = images[0].parent.parent / "labels"
    present = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    alike = {composed(name): path for name, path in present.items()}
    found = []
    for path in images:
        name = f"{path.stem}.png"
        label = present.get(name) or alike.get(composed(name))
        if label is None:
            raise StvmError(
                f"{path}: image has no label; add {folder / name} or remove the image"
                f"{near(name, present)}"
            )
        found.append(label)
    return found


def read_files(root: Path, split: str, labelled: bool) -> list[Path]:
    """Files of a split that are read: its images and, if `labelled`, their labels.

    Raises:
        StvmError: A fault that `image_paths` or `label_paths` raises.
    """
    images = image_paths(root, split)
    return [*images, *(label_paths(images) if labelled else ())]
