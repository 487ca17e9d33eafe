"""Images and labels of a trial, whichever dataset they come from, as plain arrays.

The only way to target training images without labels is `open_target_images`: what it returns
has no labels, so that nothing in adaptation can see them.
"""

import hashlib
from pathlib import Path
from typing import Literal, Protocol

from stvm.data.classes import parse_classes
from stvm.data.folder import FolderImages, LabelledFolder, Uint8Array
from stvm.data.scenes import CLASSES, PALETTE
from stvm.data.streets import open_street_images, open_streets
from stvm.settings import DataSettings

Split = Literal["train", "val", "test"]


class Images(Protocol):
    """A sequence of images."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        ...


class LabelledImages(Images, Protocol):
    """A sequence of images with labels."""

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        ...


def class_names(data: DataSettings) -> tuple[str, ...]:
    """Names in train-id order."""
    return CLASSES if data.dataset == "streets" else parse_classes(data.classes).names


def class_colours(data: DataSettings) -> list[tuple[int, int, int]]:
    """A colour for each class: Cityscapes' where the name is one of its classes."""
    known = dict(zip(CLASSES, PALETTE, strict=True))
    names = class_names(data)
    return [known.get(n, (37 * i % 256, 91 * i % 256, 153 * i % 256)) for i, n in enumerate(names)]


def fingerprint(data: DataSettings, eval_split: Split, target_train: bool) -> str | None:
    """SHA-256 over names and sizes of the files a trial reads; None for the embedded benchmark.

    Tells records apart that were made from other images below the same root.

    Args:
        data: roots.
        eval_split: of the target.
        target_train: the trial reads the target's training images.
    """
    if data.dataset == "streets":
        return None
    source, target = Path(data.source_root), Path(data.target_root)
    folders = [source / split for split in ("train", "val")]
    folders += [target / eval_split]
    folders += [target / "train" / "images"] if target_train else []
    digest = hashlib.sha256()
    for number, folder in enumerate(folders):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(f"{number} {path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def open_source(data: DataSettings, split: Split, cache: Path) -> LabelledImages:
    """Labelled source images."""
    if data.dataset == "streets":
        return open_streets(data, "source", split, cache)
    return LabelledFolder(
        data.source_root, split, data.height, data.width, parse_classes(data.classes)
    )


def open_target_images(data: DataSettings, cache: Path) -> Images:
    """Unlabelled target training images; label files are neither opened nor looked for."""
    if data.dataset == "streets":
        return open_street_images(data, "target", "train", cache)
    return FolderImages(data.target_root, "train", data.height, data.width)


def open_target_labelled(data: DataSettings, split: Split, cache: Path) -> LabelledImages:
    """Labelled target images: val and test for evaluation, train for the oracle only."""
    if data.dataset == "streets":
        return open_streets(data, "target", split, cache)
    return LabelledFolder(
        data.target_root, split, data.height, data.width, parse_classes(data.classes)
    )
