"""The files of each split that a trial reads, so that they can be checked before it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stvm.data.classes import ClassList
from stvm.data.datasets import class_list
from stvm.data.folder import image_paths, label_paths
from stvm.data.images import evenly_spaced
from stvm.data.inspection import Files
from stvm.data.listed_images import left_out
from stvm.data.path_hints import in_other_capitals
from stvm.data.published import published_images
from stvm.data.published.array_cache import DecodedArray, Kind
from stvm.data.published.dataset_layouts import Split
from stvm.data.published.splits import DatasetSplit
from stvm.settings import PUBLISHED, DataSettings


@dataclass(frozen=True)
class Reads:
    """Images of one split that a trial reads, with or without their labels.

    Attributes:
        data: Settings that name the data set.
        domain: Domain, source or target.
        split: Split of the domain.
        labelled: True if the labels are read too; if not, no label file is opened or looked for.
        most: Largest number of images, evenly spaced; 0 for all.
    """

    data: DataSettings
    domain: Literal["source", "target"]
    split: Split
    labelled: bool = True
    most: int = 0

    def files(self, cache: Path | None) -> list[Files]:
        """Files that have to be checked.

        Args:
            cache: Folder of prepared arrays, whose originals were checked already; None for none.

        Raises:
            StvmError: Folders or labels that are missing.
        """
        data, what = self.data, f"{self.domain} {self.split}"
        if data.dataset == "folder":
            root = data.source_root if self.domain == "source" else data.target_root
            classes = class_list(data, self.domain) if self.labelled else None
            return _own(Path(root), self.split, what, classes)
        if data.dataset not in PUBLISHED:
            return []
        part_of = (
            published_images.source_part
            if self.domain == "source"
            else published_images.target_part
        )
        return _published(part_of(data, self.split), what, cache, self.labelled, self.most)


def odd_files(reads: Reads) -> list[str]:
    """Warnings of pictures in a user's folder, or of its split val, that are not read."""
    data = reads.data
    if data.dataset != "folder":
        return []
    root = Path(data.source_root if reads.domain == "source" else data.target_root)
    told = [left_out(root / reads.split / "images")]
    # Held-out source images need not be there.
    if reads.domain == "source" and (named := in_other_capitals(root / "val")):
        told.append(f"{root / 'val'}: no such folder{named}")
    return [f"warning: {line}" for line in told if line]


def _own(root: Path, split: Split, what: str, classes: ClassList | None) -> list[Files]:
    images = image_paths(root, split)
    found = [Files(what, "images", tuple(images))]
    if classes:
        labels = tuple(label_paths(images))
        found.append(Files(what, "labels", tuple(images), labels, classes))
    return found


def _published(
    part: DatasetSplit, what: str, cache: Path | None, labelled: bool, most: int
) -> list[Files]:
    if labelled:
        part.check_labelled()
    images = part.images()

    def is_known(kind: Kind) -> bool:
        return cache is not None and DecodedArray(cache, part, kind, (0, 0), images).was_read()

    kept = [images[row] for row in evenly_spaced(len(images), most or len(images))]
    found = []
    if not is_known("images"):
        found.append(Files(what, "images", tuple(kept)))
    if labelled and not is_known("labels"):
        labels = tuple(part.labels(kept))
        found.append(Files(what, "labels", tuple(kept), labels, layout=part.layout.name))
    return found
