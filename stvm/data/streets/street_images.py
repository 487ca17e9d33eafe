"""The embedded benchmark on disk: rendered once into uint8 arrays, which are mapped into memory."""

from pathlib import Path
from typing import Literal

import numpy as np

from stvm.data.array_files import map_array
from stvm.data.image_files import Uint8Array
from stvm.data.streets import SOURCE_STYLE, TARGET_STYLE, interpolate, render_scene
from stvm.files import drop_unfinished, replacing_folder, writing
from stvm.files.locks import locked, look_afresh
from stvm.settings import STREETS_VERSION, DataSettings, digest

Domain = Literal["source", "target"]
_DOMAINS = ("source", "target")
_SPLITS = ("train", "val", "test")


class ArrayImages:
    """Images of a memory-mapped array (N, H, W, 3)."""

    def __init__(self, images: Uint8Array) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3), a copy."""
        return np.array(self._images[index])


class LabelledArrays(ArrayImages):
    """Images and labels (N, H, W) of memory-mapped arrays."""

    def __init__(self, images: Uint8Array, labels: Uint8Array) -> None:
        super().__init__(images)
        self._labels = labels

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), a copy."""
        return np.array(self._labels[index])


def open_street_images(data: DataSettings, domain: Domain, split: str, cache: Path) -> ArrayImages:
    """Images only; the label file of the split is not opened."""
    return ArrayImages(map_array(_prepared(data, domain, split, cache) / "images.npy"))


def open_streets(data: DataSettings, domain: Domain, split: str, cache: Path) -> LabelledArrays:
    """Images with labels, rendered if the cache does not hold them yet.

    Raises:
        StvmError: The cache cannot be written or read.
    """
    folder = _prepared(data, domain, split, cache)
    return LabelledArrays(map_array(folder / "images.npy"), map_array(folder / "labels.npy"))


def _count(data: DataSettings, domain: Domain, split: str) -> int:
    if split != "train":
        return data.eval_images
    return data.source_images if domain == "source" else data.target_images


def _prepared(data: DataSettings, domain: Domain, split: str, cache: Path) -> Path:
    """Folder of one split; the first process renders it, the others wait."""
    named = {
        "version": STREETS_VERSION,
        "realisation": data.realisation,
        "domain": domain,
        "split": split,
        "count": _count(data, domain, split),
        "height": data.height,
        "width": data.width,
        "gap": data.gap if domain == "target" else 0.0,
    }
    folder = cache / "streets" / f"{domain}-{split}-{digest(named)}"
    if folder.is_dir():
        return folder
    with writing(folder.parent), locked(folder.with_suffix(".lock")):
        look_afresh(folder.parent)
        drop_unfinished(folder)
        if not folder.is_dir():
            _render(data, domain, split, folder)
    return folder


def _render(data: DataSettings, domain: Domain, split: str, folder: Path) -> None:
    style = SOURCE_STYLE
    if domain == "target":
        style = interpolate(SOURCE_STYLE, TARGET_STYLE, data.gap)
    shape = (_count(data, domain, split), data.height, data.width)
    images, labels = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    for index in range(shape[0]):
        seed = (data.realisation, _DOMAINS.index(domain), _SPLITS.index(split), index)
        images[index], labels[index] = render_scene(seed, style, data.height, data.width)
    with replacing_folder(folder) as temporary:
        np.save(temporary / "images.npy", images)
        np.save(temporary / "labels.npy", labels)
