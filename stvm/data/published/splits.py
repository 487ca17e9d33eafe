"""The files of one split of a published data set; nothing is decoded here."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stvm.data.image_names import ending_of
from stvm.data.path_hints import did_you_mean, folders_with, near, why_not_there
from stvm.data.published.dataset_layouts import DatasetLayout, Split
from stvm.errors import StvmError


@dataclass(frozen=True)
class DatasetSplit:
    """One split of a published data set on disk.

    Attributes:
        layout: Layout of the data set.
        root: Folder of the data set.
        split: Name of the split.
        city: City of Cross-City; empty for other data sets.
    """

    layout: DatasetLayout
    root: Path
    split: Split
    city: str = ""

    @property
    def title(self) -> str:
        """Name of data set and city, for messages."""
        return " ".join([self.layout.title, *([self.city.capitalize()] if self.city else [])])

    @property
    def lacks_split_file(self) -> bool:
        """True if the file that lists the images of each split is missing."""
        name = self.layout.split_file
        return bool(name) and not (self.root / name).is_file()

    @property
    def official(self) -> int:
        """Number of images that the split has as published; 0 if there is no such split."""
        layout = self.layout
        if self.lacks_split_file:
            return layout.count_without if self.split == "train" else 0
        return layout.counts.get(self.split, 0)

    def images(self) -> list[Path]:
        """Image files in the order of their names.

        Raises:
            StvmError: A missing split, folder or image, two images with the same stem, or a split
                file that cannot be used.
        """
        layout = self.layout
        if not self.official:
            raise StvmError(
                f"{self.root}: {layout.title} has no split '{self.split}' here; "
                f"take one of {', '.join(layout.counts)}"
            )
        folder = self.image_folder()
        self._check_folder(folder)
        places = sorted(p for p in folder.iterdir() if p.is_dir()) if layout.towns else [folder]
        paths = [path for place in places for path in _files(place, layout.image_endings)]
        if layout.split_file and not self.lacks_split_file:
            paths = self._of_split(paths)
        if not paths:
            raise StvmError(
                f"{folder}: no image of the split '{self.split}' in this folder; "
                f"{layout.title} is expected as {layout.expected}"
            )
        self._refuse_twins(paths)
        return paths

    def label_of(self, image: Path) -> Path:
        """Label file of an image; the file may be missing."""
        folder = self.root / self._filled(self.layout.labels)
        if self.layout.towns:
            folder /= image.parent.name
        return folder / f"{self._stem(image)}{self.layout.label_ending}"

    def without_label(self, images: Iterable[Path]) -> list[Path]:
        """Images whose label file is missing."""
        present: dict[Path, set[str]] = {}
        missing = []
        for image in images:
            label = self.label_of(image)
            if label.parent not in present:
                present[label.parent] = (
                    set(_names(label.parent)) if label.parent.is_dir() else set()
                )
            if label.name not in present[label.parent]:
                missing.append(image)
        return missing

    def labels(self, images: Sequence[Path]) -> list[Path]:
        """Label files of the images.

        Raises:
            StvmError: The labels of the split are not public, or some are missing.
        """
        self.check_labelled()
        if missing := self.without_label(images):
            names = [path.relative_to(self.root).as_posix() for path in missing[:5]]
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            first = self.label_of(missing[0])
            beside = _names(first.parent) if first.parent.is_dir() else []
            hint = near(first.name, beside)
            spread = "" if hint else self._belongs(self._filled(self.layout.labels))
            raise StvmError(
                f"{self.root}: {len(missing)} of {len(images)} images have no label: "
                f"{', '.join(names)}{more}; add {first} and so on, or remove these images"
                f"{hint}{spread and f'; {spread}'}"
            )
        return [self.label_of(image) for image in images]

    def check_labelled(self) -> None:
        """Refuses a split without public labels.

        Raises:
            StvmError: The labels of the split are not public.
        """
        layout = self.layout
        if self.split in layout.labelled:
            return
        if self.split == "train":
            raise StvmError(
                f"{layout.title} has no labels for its training images: an oracle is not possible "
                "there; leave that row out"
            )
        held_out = [split for split in layout.labelled if split != "train"]
        mend = f"set eval_split={held_out[0]}" if held_out else "only its split train has labels"
        raise StvmError(f"{layout.title} has no labels for a split '{self.split}': {mend}")

    def listing(self, files: Iterable[Path]) -> list[tuple[str, int]]:
        """Name relative to the root, and size, of each file.

        Raises:
            StvmError: A file is missing.
        """
        try:
            return [(f.relative_to(self.root).as_posix(), f.stat().st_size) for f in files]
        except OSError as error:
            raise StvmError(
                f"{error.filename}: {error.strerror}; copy the file again, or delete a broken link"
            ) from error

    def image_folder(self) -> Path:
        """Folder of the images, or of the folders of the towns."""
        return self.root / self._filled(self.layout.images)

    def _filled(self, pattern: str) -> str:
        split, city = self.split, self.city.capitalize()
        return pattern.format(split=split, Split=split.capitalize(), City=city)

    def _stem(self, image: Path) -> str:
        return image.name.removesuffix(ending_of(image.name, self.layout.image_endings))

    def _check_folder(self, folder: Path) -> None:
        inside = folder.relative_to(self.root)
        for part in (self.root, *reversed(folder.parents), folder):
            if part.is_relative_to(self.root) and not part.is_dir():
                other = self._unpacked_apart() or did_you_mean(
                    self.root, lambda place: (place / inside).is_dir()
                )
                absent = "" if part.exists() else f"no such folder{_beside(part)}"
                hint, packed = why_not_there(part, self.root)
                what = f"{absent}{hint}".removeprefix("; ")
                raise StvmError(
                    f"{part}: {what}; "
                    f"{self.layout.title} is expected as {self.layout.expected}"
                    f"{other or packed}"
                )

    def _unpacked_apart(self) -> str:
        """Advice where each archive was unpacked into a folder of its own; else empty."""
        images, labels = self._filled(self.layout.images), self._filled(self.layout.labels)
        of_images, of_labels = folders_with(self.root, images), folders_with(self.root, labels)
        if not of_images or {*of_images} & {*of_labels} or len([*of_images, *of_labels]) == 1:
            return ""
        told = [self._belongs(images), self._belongs(labels)]
        moves = " and ".join(filter(None, told))
        return f"; each archive seems to lie in a folder of its own: {moves}"

    def _belongs(self, inside: str) -> str:
        """Where to move what lies so far below the folders of the archives; empty for none."""
        found = [f"{place / inside}" for place in folders_with(self.root, inside)]
        more = f" and {len(found) - 2} more" if len(found) > 2 else ""
        there = f"{', '.join(found[:2])}{more}"
        return f"move what is in {there} to {self.root / inside}" if found else ""

    def _of_split(self, paths: list[Path]) -> list[Path]:
        path = self.root / self.layout.split_file
        numbers = set(_split_numbers(path, self.split).ravel().tolist())
        for image in paths:
            if not image.stem.isdecimal():
                raise StvmError(
                    f"{image}: its name is not a number, and {path} lists images by number; remove "
                    "one of these two files"
                )
        return [image for image in paths if int(image.stem) in numbers]

    def _refuse_twins(self, paths: list[Path]) -> None:
        first: dict[tuple[Path, str], Path] = {}
        for path in paths:
            key = (path.parent, self._stem(path))
            if key in first:
                raise StvmError(
                    f"{path}: has the same stem as {first[key].name}; rename or remove one of the "
                    "two"
                )
            first[key] = path


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in sorted(_names(folder)) if ending_of(name, endings)]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise StvmError(
            f"{folder}: cannot be listed ({error.strerror}); make it a folder you may read"
        ) from error


def _beside(part: Path) -> str:
    """Folders beside a missing folder, for a message."""
    if not part.parent.is_dir():
        return ""
    names = sorted(p.name for p in part.parent.iterdir() if p.is_dir())[:6]
    return f" (beside it: {', '.join(names)})" if names else ""


def _split_numbers(path: Path, split: Split) -> NDArray[np.integer]:
    # Imported here, so that only data sets with such a file load SciPy.
    from scipy.io import loadmat

    try:
        numbers: NDArray[np.integer] = loadmat(path)[f"{split}Ids"]
    except Exception as error:  # a damaged file makes scipy raise any exception
        reason = " ".join(str(error).split())
        raise StvmError(
            f"{path}: cannot be read as GTA5's split file ({reason}); copy it again, or remove it "
            "to train on all images"
        ) from error
    return numbers
